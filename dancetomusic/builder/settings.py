"""What a set of clips is made to be; fixed for the life of the set."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from dancetomusic.builder.download import DownloadSettings
from dancetomusic.builder.quality import GateThresholds
from dancetomusic.config import check_fields
from dancetomusic.errors import ConfigError, InputError
from dancetomusic.io.atomic import atomic_output
from dancetomusic.types import POSE_FPS

SETTINGS_FILE = "build.json"
_FREE = ("gate", "download", "stems_dir")
"""Settings that may change between the builds of one set."""


@dataclass(frozen=True)
class BuildSettings:
    """How clips are made."""

    max_seq_len: Annotated[float, Field(ge=1.0, le=600.0)] = 5.0
    """Length of a clip, in seconds."""
    fps: Annotated[float, Field(ge=1.0, le=120.0)] = POSE_FPS
    """Pose frames a second."""
    sample_rate: Annotated[int, Field(ge=8_000, le=96_000)] = 24_000
    """Of the sounds, in Hz."""
    separator: str = "auto"
    """What takes drums and bass out of the sound: auto, spleeter, demucs, hpss, none, stems_dir."""
    stems_dir: str | None = None
    """Folder of ready stems, for the separator stems_dir."""
    codec: str = "codec"
    """Codec of the codes: a directory, a released name, or an EnCodec hub id."""
    n_codebooks: Annotated[int, Field(ge=1, le=32)] = 2
    """Codebooks used of it."""
    pose_model: str | None = None
    """A MediaPipe .task file to use instead of the one that comes with the package."""
    val_share: Annotated[float, Field(ge=0.0, le=1.0)] = 0.15
    """Share of the sources held out for validation."""
    test_share: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    """Share of the sources held out for a test."""
    gate: GateThresholds = field(default_factory=GateThresholds)
    """What a clip must reach."""
    download: DownloadSettings = field(default_factory=DownloadSettings)
    """How videos are fetched."""

    def __post_init__(self) -> None:
        check_fields(self)
        if self.val_share + self.test_share > 1:
            raise ConfigError(
                f"val_share and test_share add up to {self.val_share + self.test_share:g}",
                "Leave something to train on.",
            )

    @property
    def n_frames(self) -> int:
        """Pose frames a clip."""
        return round(self.max_seq_len * self.fps)

    @property
    def n_samples(self) -> int:
        """Samples a clip."""
        return round(self.max_seq_len * self.sample_rate)


def settings_before(output: Path) -> dict[str, Any]:
    """The settings that the set at ``output`` was begun with; empty for a new one.

    Raises:
        InputError: If they cannot be read.
    """
    file = output / SETTINGS_FILE
    if not file.is_file():
        return {}
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {file} ({error})", "Choose another output path.") from error
    if not isinstance(values, dict):
        raise InputError(f"{file} holds no settings", "Choose another output path.")
    return values


def settle(output: Path, settings: BuildSettings) -> BuildSettings:
    """See that a set is made with one set of settings, and keep them beside its clips.

    Raises:
        ConfigError: If the set was begun with other settings.
        OutputError: If they cannot be written.
    """
    before = settings_before(output)
    now = {name: value for name, value in asdict(settings).items() if name not in _FREE}
    for name, value in before.items():
        if now.get(name) != value:
            raise ConfigError(
                f"the set {output} was made with {name} {value}, not {now.get(name)}",
                "Use the same, or another output path.",
            )
    if not before:
        with atomic_output(output / SETTINGS_FILE) as temporary:
            temporary.write_text(json.dumps(now, sort_keys=True, indent=1) + "\n", encoding="utf-8")
    return settings
