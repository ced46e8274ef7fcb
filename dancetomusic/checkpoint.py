"""The checkpoint format: a directory of config.json and model.safetensors. No pickle is read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dancetomusic.errors import CheckpointError
from dancetomusic.io.atomic import atomic_output, make_directory

if TYPE_CHECKING:
    import torch

SCHEMA_VERSION = 1
CONFIG_FILE = "config.json"
TENSORS_FILE = "model.safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint directory holds.

    Attributes:
        tensors: Weights and buffers in float32.
        metadata: Provenance: codec identity, seed, data, figures, package version.
    """

    model: str
    config: dict[str, Any]
    tensors: dict[str, torch.Tensor]
    metadata: dict[str, Any]
    sha256: str


def save_checkpoint(
    directory: Path | str,
    *,
    model: str,
    config: Mapping[str, Any],
    tensors: Mapping[str, torch.Tensor],
    metadata: Mapping[str, Any],
    half: bool = True,
) -> None:
    """Write a checkpoint; floating-point tensors are stored in float16 when ``half``.

    Raises:
        OutputError: If the directory cannot be written.
    """
    from safetensors.torch import save_file

    import dancetomusic

    target = make_directory(directory)
    stored = {
        name: (tensor.half() if half and tensor.is_floating_point() else tensor)
        .detach()
        .cpu()
        .contiguous()
        for name, tensor in tensors.items()
    }
    with atomic_output(target / TENSORS_FILE) as temporary:
        save_file(stored, str(temporary))
    document = {
        "schema_version": SCHEMA_VERSION,
        "model": model,
        "config": dict(config),
        "metadata": {"package_version": dancetomusic.__version__, **metadata},
    }
    with atomic_output(target / CONFIG_FILE) as temporary:
        temporary.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def checkpoint_family(directory: Path | str) -> str:
    """The family of the model that a checkpoint holds.

    Raises:
        CheckpointError: If it is missing, foreign or of another schema.
    """
    return str(_read_document(Path(directory))["model"])


def load_checkpoint(directory: Path | str, *, model: str) -> Checkpoint:
    """Read a checkpoint of the family ``model``.

    Raises:
        CheckpointError: If it is missing, corrupted, of another schema or another family.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    source = Path(directory)
    document = _read_document(source)
    if document["model"] != model:
        raise CheckpointError(
            f"{source} holds a {document['model']!r} model, not {model!r}",
            "Name a checkpoint of the right kind.",
        )
    file = source / TENSORS_FILE
    try:
        tensors = load_file(str(file))
        sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{file} is missing or corrupted ({error})", "Copy the checkpoint again."
        ) from error
    return Checkpoint(
        model=model,
        config=document["config"],
        tensors={
            name: tensor.float() if tensor.is_floating_point() else tensor
            for name, tensor in tensors.items()
        },
        metadata=document["metadata"],
        sha256=sha256,
    )


def _read_document(source: Path) -> dict[str, Any]:
    file = source / CONFIG_FILE
    if not file.is_file():
        raise CheckpointError(
            f"{source} is not a checkpoint: it has no {CONFIG_FILE}",
            "Name a directory that `train.py` wrote.",
        )
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{file} is corrupted ({error})", "Copy the checkpoint again.") from (
            error
        )
    keys = {"schema_version", "model", "config", "metadata"}
    if not isinstance(document, dict) or not keys <= set(document):
        raise CheckpointError(
            f"{file} was not written by dancetomusic", "Name a directory that `train.py` wrote."
        )
    if document["schema_version"] != SCHEMA_VERSION:
        raise CheckpointError(
            f"{source} has schema {document['schema_version']}, not {SCHEMA_VERSION}",
            "Install the package version that wrote it.",
        )
    return document


def load_into(module: torch.nn.Module, checkpoint: Checkpoint, directory: Path | str) -> None:
    """Copy the tensors of ``checkpoint`` into ``module``.

    Raises:
        CheckpointError: If names or shapes differ.
    """
    try:
        module.load_state_dict(checkpoint.tensors)
    except RuntimeError as error:
        first = str(error).splitlines()[-1].strip()
        raise CheckpointError(
            f"{directory} does not fit its own config ({first})", "Copy the checkpoint again."
        ) from error
