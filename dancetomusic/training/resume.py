"""The resume file: the state of a stopped run, from which it resumes exactly."""

from __future__ import annotations

import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from dancetomusic.errors import CheckpointError
from dancetomusic.io.atomic import atomic_output

RESUME_FILE = "resume.pt"
FREE_KEYS = frozenset(
    {"device", "threads", "log_every", "save_every", "num_workers", "tensorboard", "wandb"}
)
"""Settings that may change when a run resumes: they decide no weight."""
GROWING_KEYS = frozenset({"max_steps", "epochs"})
"""Settings that may be raised, to train a run for longer."""


def write_resume(path: Path, settings: dict[str, Any], state: dict[str, Any]) -> None:
    """Write a state, and the settings of the run that it belongs to.

    Settings are plain values, all of which must be the same when the run resumes; the state is
    tensors and plain values.

    Raises:
        OutputError: If it cannot be written.
    """
    with atomic_output(path) as temporary:
        torch.save({"recipe": json.dumps(_plain(settings)), "state": state}, temporary)


def read_resume(path: Path, settings: dict[str, Any]) -> dict[str, Any] | None:
    """The state that ``write_resume`` wrote, on the CPU; ``None`` if there is none.

    Raises:
        CheckpointError: If the file is damaged, or of a run with other settings.
    """
    if not path.is_file():
        return None
    try:
        if not zipfile.is_zipfile(path):
            raise ValueError("no archive")
        content = torch.load(path, map_location="cpu", weights_only=True)
        theirs, state = json.loads(content["recipe"]), content["state"]
    except (OSError, RuntimeError, KeyError, ValueError, pickle.UnpicklingError) as error:
        raise CheckpointError(
            f"{path} is no intact resume file ({str(error).splitlines()[0]})",
            "Remove it to start again.",
        ) from error
    ours = _plain(settings)
    changed = sorted(
        key
        for key in ours.keys() | theirs.keys()
        if ours.get(key) != theirs.get(key) and not _grew(key, theirs.get(key), ours.get(key))
    )
    if changed:
        was = ", ".join(f"{key} {theirs.get(key)!r}, now {ours.get(key)!r}" for key in changed)
        raise CheckpointError(
            f"{path} was written with other settings (it had {was[:300]})",
            "Resume with its own settings, or name another output.",
        )
    return dict(state)


def _grew(key: str, before: object, now: object) -> bool:
    return (
        key in GROWING_KEYS and isinstance(before, int) and isinstance(now, int) and before <= now
    )


def _plain(settings: dict[str, Any]) -> dict[str, Any]:
    """Values as JSON gives them back, without the keys that are free to change.

    Of ``batch_size`` and ``accumulate`` only the product counts: half the batches, twice as
    often, make the same steps in less memory.
    """
    kept = {key: value for key, value in settings.items() if key not in FREE_KEYS}
    if "batch_size" in kept:
        kept["batch_size x accumulate"] = kept.pop("batch_size") * kept.pop("accumulate", 1)
    return dict(json.loads(json.dumps(kept)))
