"""The one list of models: nothing else in the package names them all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dancetomusic.errors import CheckpointError, ConfigError

if TYPE_CHECKING:
    from dancetomusic.models.base import MusicModel
    from dancetomusic.models.live import LiveModel

DEFAULT_MODEL = "score"
"""The instrument that plays where none is named."""

READER = "pose2audio"
"""The released checkpoint whose encoder estimates the rhythm for models without an encoder."""


@dataclass(frozen=True)
class Family:
    """A kind of model, and the folder that holds everything about it.

    Attributes:
        name: As in ``config.json`` of its checkpoints, and as ``--model`` of ``train``.
        package: The folder, as a dotted name. Its module ``training`` defines
            ``TRAINING: TrainingEntry``; of a family that plays, its module ``model`` defines
            ``open_model(directory, codec) -> MusicModel``.
        plays: Whether it makes music for a dance.
        reads_beats: Whether its checkpoints hold an encoder that estimates the beats of movement.
        has_weights: Without, its name stands for a checkpoint, and it is not trained.
    """

    name: str
    package: str
    plays: bool = False
    reads_beats: bool = False
    has_weights: bool = True

    def training(self) -> TrainingEntry:
        """How the family is trained; imports PyTorch.

        Raises:
            ConfigError: If the folder has no module ``training``.
        """
        if find_spec(f"{self.package}.training") is None:
            raise ConfigError(f"{self.name} comes without training", "Choose another model.")
        entry = import_module(f"{self.package}.training").TRAINING
        assert isinstance(entry, TrainingEntry)
        return entry

    def open(self, directory: Path | None, codec: Path | str | None = None) -> MusicModel:
        """Load a checkpoint of a family that plays; imports PyTorch.

        Raises:
            CheckpointError: If it is missing, corrupted, or does not fit the codec.
            DependencyError: If a codec's hub id cannot be reached.
        """
        model: MusicModel = import_module(f"{self.package}.model").open_model(directory, codec)
        return model

    def open_live(self, directory: Path, **options: Any) -> LiveModel:
        """Load a checkpoint to be played live, if the folder has a module ``live``.

        Raises:
            CheckpointError: If the family does not play live, or the checkpoint is unusable.
            InputError: If an option is out of range.
        """
        if find_spec(f"{self.package}.live") is None:
            raise CheckpointError(
                f"{directory} holds a {self.name!r} model, which does not play live",
                "Name another checkpoint, as pose2audio_causal or motion_vae.",
            )
        model: LiveModel = import_module(f"{self.package}.live").open_live(directory, **options)
        return model


@dataclass(frozen=True)
class TrainingEntry:
    """How a model is trained.

    Attributes:
        config: Dataclass of its settings.
        run: Trains by settings into the directory of a run.
        on_set: Settings for a set of clips as ``build`` makes it, which is then the only data that
            is needed and is called ``clips``; ``None`` where a set alone does not do.
    """

    config: type
    run: Callable[[Any, Path], object]
    on_set: Mapping[str, Any] | None = None


OWN_FAMILIES = (
    Family("score", "dancetomusic.models.score", plays=True, has_weights=False),
    *(
        Family(name, f"dancetomusic.models.{folder}", plays, reads_beats)
        for name, folder, plays, reads_beats in (
            ("codec", "spectral_codec", False, False),
            ("pose_encoder", "pose_encoder", False, True),
            ("pose2audio", "pose2audio", True, True),
            ("pose2score", "pose2score", True, False),
            ("wavenet", "wavenet", True, False),
            ("motion_vae", "motion_vae", True, False),
            ("dance_gan", "dance_gan", False, False),
            ("beat_network", "beat_network", False, False),
        )
    ),
)
PLUGINS = "dancetomusic.models"
"""Entry-point group by which another installed package adds its families."""


@cache
def families() -> dict[str, Family]:
    """Every family by its name: those of this package, then those of others."""
    others = (entry.load() for entry in entry_points(group=PLUGINS))
    return {family.name: family for family in (*OWN_FAMILIES, *others)}


def trained_families() -> dict[str, Family]:
    """Those that are trained, by name."""
    return {name: family for name, family in families().items() if family.has_weights}


def find_family(name: str) -> Family:
    """The family of a name, of those that are trained.

    Raises:
        ConfigError: If there is none.
    """
    known = trained_families()
    if name not in known:
        *others, last = known
        raise ConfigError(f"no model {name!r} is trained", f"Choose {', '.join(others)} or {last}.")
    return known[name]


def locate_model(checkpoint: Path | str) -> tuple[Family, Path | None]:
    """The family of a checkpoint, and its directory; none for a family without weights.

    Raises:
        CheckpointError: If it is missing, corrupted, or of an unknown family.
    """
    from dancetomusic.checkpoint import checkpoint_family
    from dancetomusic.released import locate_checkpoint

    named = families().get(str(checkpoint))
    if named is not None and not named.has_weights:
        return named, None
    directory = locate_checkpoint(checkpoint)
    name = checkpoint_family(directory)
    if name not in families():
        raise CheckpointError(
            f"{directory} holds an unknown model {name!r}",
            f"Known are {', '.join(families())}; install the package that brings it.",
        )
    return families()[name], directory


def open_music_model(
    checkpoint: Path | str | None = None, codec: Path | str | None = None
) -> MusicModel:
    """Load whatever plays for a dance, by the family of its checkpoint.

    Args:
        checkpoint: A directory or a released name; the score by default.
        codec: A directory, a released name, or an EnCodec hub id; the released codec by default.

    Raises:
        CheckpointError: If it is missing, corrupted, or makes no sound from movement.
        DependencyError: If a hub id cannot be reached.
    """
    family, directory = locate_model(checkpoint or DEFAULT_MODEL)
    if not family.plays:
        playing = ", ".join(known.name for known in families().values() if known.plays)
        raise CheckpointError(
            f"{directory} holds a {family.name!r} model, which plays no music",
            f"Name a checkpoint of one of {playing}.",
        )
    return family.open(directory, codec)


def train(
    model: str,
    config: Path | str | None,
    overrides: dict[str, Any],
    output: Path | str,
    data: Path | str | None = None,
) -> None:
    """Train ``model`` by the settings of a file, some of them overridden, into ``output``.

    Args:
        model: Name of a family.
        config: YAML or JSON file; may be left out where there is ``data``.
        overrides: Values by key; ``corpus.n_pieces`` is the key ``n_pieces`` within ``corpus``.
        output: Directory of the run; a run found there is resumed.
        data: Set of clips, by the settings of ``TrainingEntry.on_set`` where the file has no other.

    Raises:
        ConfigError: If no model has this name, the settings do not fit it, or there is neither
            ``config`` nor ``data``.
        DanceToMusicError: If the task refuses its data, or training cannot continue.
    """
    from dancetomusic.config import config_from_dict, load_config_values

    entry = find_family(model).training()
    if config is None and data is None:
        raise ConfigError("there is nothing to learn from", "Give --data SET, or --config FILE.")
    values = {} if config is None else load_config_values(config)
    if data is not None:
        if entry.on_set is None:
            raise ConfigError(f"{model} does not learn from a set alone", "Give a --config.")
        values = {**entry.on_set, **values, "clips": str(data)}
    for key, value in overrides.items():
        values = _with_value(values, key.split("."), value)
    entry.run(config_from_dict(entry.config, values), Path(output))


def _with_value(values: Mapping[str, Any], keys: list[str], value: Any) -> dict[str, Any]:
    """A copy in which the value at a path of keys is another."""
    first, *rest = keys
    if rest:
        within = values.get(first) or {}
        if not isinstance(within, Mapping):
            raise ConfigError(f"{first} is {within!r}, without keys", "Name another key.")
        value = _with_value(within, rest, value)
    return {**values, first: value}
