"""Networks that are made from one config, saved and loaded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from torch import nn

from dancetomusic.checkpoint import load_checkpoint, load_into, save_checkpoint
from dancetomusic.config import config_from_dict, config_to_dict

N = TypeVar("N", bound="PretrainedModule")


class PretrainedModule(nn.Module):
    """A network that is made from a config alone."""

    MODEL: ClassVar[str]
    CONFIG: ClassVar[type]
    config: Any

    def save_pretrained(self, directory: Path | str, metadata: Mapping[str, Any]) -> None:
        """Write config and weights, the weights in float16.

        Raises:
            OutputError: If the directory cannot be written.
        """
        codec = {"codec": self.config.codec_id} if hasattr(self.config, "codec_id") else {}
        save_checkpoint(
            directory,
            model=self.MODEL,
            config=config_to_dict(self.config),
            tensors=self.state_dict(),
            metadata={**codec, **metadata},
        )

    @classmethod
    def from_pretrained(cls: type[N], directory: Path | str) -> N:
        """Read what ``save_pretrained`` wrote, in evaluation mode.

        Raises:
            CheckpointError: If it is missing, corrupted or holds another model.
            ConfigError: If its config has an unknown key or a value out of range.
        """
        checkpoint = load_checkpoint(directory, model=cls.MODEL)
        network = cls(config_from_dict(cls.CONFIG, checkpoint.config))
        load_into(network, checkpoint, directory)
        return network.eval()
