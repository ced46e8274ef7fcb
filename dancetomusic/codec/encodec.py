"""EnCodec at 24 kHz, with weights from the hub, a directory, or the original file."""

from __future__ import annotations

import hashlib
import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float32, Int
from torch import Tensor

from dancetomusic.codec.base import Codec
from dancetomusic.errors import CheckpointError, ConfigError, DependencyError
from dancetomusic.io.audio import resample
from dancetomusic.types import CodeSequence, Waveform

if TYPE_CHECKING:
    from transformers import EncodecModel

HUB_ID = "facebook/encodec_24khz"
ORIGINAL_SHA256 = "d7cc33bcf1aad7f2dad9836f36431530744abeace3ca033005e3290ed4fa47bf"
BANDWIDTH_KBPS = {2: 1.5, 4: 3.0, 8: 6.0}
HUB_TIMEOUT_S = 10.0

_HUB_FILES = ("config.json", "model.safetensors")

_RENAMES = (
    ("encoder.model.", "encoder.layers."),
    ("decoder.model.", "decoder.layers."),
    (".convtr.convtr.", ".conv."),
    (".conv.conv.", ".conv."),
    ("quantizer.vq.layers.", "quantizer.layers."),
    ("._codebook.", ".codebook."),
    (".weight_g", ".parametrizations.weight.original0"),
    (".weight_v", ".parametrizations.weight.original1"),
)


class EncodecCodec(Codec):
    """A codec over ``transformers.EncodecModel``; the codes are EnCodec's own.

    Args:
        model: A causal, mono, unchunked model: the architecture of ``facebook/encodec_24khz``.
        n_codebooks: 2, 4 or 8, which is 1.5, 3 or 6 kbit/s.

    Raises:
        CheckpointError: If the model is of another kind, such as the 48 kHz one.
        ConfigError: If the number of codebooks is not one of the three.

    References:
        Défossez et al., "High Fidelity Neural Audio Compression", 2022.
    """

    def __init__(self, model: EncodecModel, *, n_codebooks: int = 2) -> None:
        if n_codebooks not in BANDWIDTH_KBPS:
            raise ConfigError(
                f"EnCodec cannot use {n_codebooks} codebooks",
                f"Choose one of {', '.join(map(str, BANDWIDTH_KBPS))}.",
            )
        config = model.config
        streams = config.use_causal_conv and config.trim_right_ratio == 1.0
        plain = config.norm_type == "weight_norm" and config.chunk_length_s is None
        if not (streams and plain) or config.normalize or config.audio_channels != 1:
            raise CheckpointError(
                f"this EnCodec ({config.sampling_rate} Hz, {config.audio_channels} channels) is "
                "not the causal mono model",
                f"Use {HUB_ID}.",
            )
        self._model = model.eval().requires_grad_(False)
        self.n_codebooks = n_codebooks
        self.sample_rate, self.hop_length = int(config.sampling_rate), int(config.hop_length)
        self.codebook_size = int(config.codebook_size)
        self.latent_channels = int(config.hidden_size)
        self.identity = f"encodec-{config.sampling_rate // 1000}khz:{_digest(model)}"

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path = HUB_ID,
        *,
        n_codebooks: int = 2,
        revision: str | None = None,
        expected_sha256: str = ORIGINAL_SHA256,
    ) -> EncodecCodec:
        """Load weights; nothing pickled is executed.

        Args:
            source: A hub id, a directory with ``config.json`` and ``model.safetensors``, or
                the original file ``encodec_24khz-d7cc33bc.th``.
            n_codebooks: 2, 4 or 8.
            revision: Branch, tag or commit on the hub.
            expected_sha256: Digest that an original file must have, in hexadecimal.

        Raises:
            CheckpointError: If the weights are missing, changed or of another model.
            DependencyError: If a hub id is neither cached nor reachable.
        """
        path = Path(source).expanduser()
        if path.is_dir():
            model = _load_directory(path)
        elif path.is_file():
            model = _load_original(path, expected_sha256)
        elif isinstance(source, Path) or path.suffix == ".th" or str(source)[:1] in "./~":
            raise CheckpointError(f"{source} does not exist", "Name EnCodec weights or a hub id.")
        else:
            model = _load_directory(_fetch(source, revision))
        return cls(model, n_codebooks=n_codebooks)

    def to(self, device: str) -> EncodecCodec:
        """The same codec with its weights on a device."""
        self._model.to(device)
        return self

    def embed(
        self, shares: Float32[Tensor, "batch codebooks frames entries"]
    ) -> Float32[Tensor, "batch frames channels"]:
        """The expected latent when each code is drawn by its shares; differentiable."""
        layers = self._model.quantizer.layers[: shares.shape[1]]
        codebooks = torch.stack([layer.codebook.embed for layer in layers])
        return torch.einsum("bkte,kec->btc", shares, codebooks)

    def decode_latent(
        self, latent: Float32[Tensor, "batch frames channels"]
    ) -> Float32[Tensor, "batch samples"]:
        """Sound of a latent; differentiable."""
        # cuDNN's LSTM gives no gradient in evaluation mode.
        with torch.backends.cudnn.flags(enabled=False):
            return self._model.decoder(latent.transpose(1, 2))[:, 0]

    def encode(self, waveform: Waveform) -> CodeSequence:
        """Codes of a sound; other rates and channel counts are converted first."""
        mono = resample(waveform.to_mono(), self.sample_rate)
        codes = np.zeros((self.n_codebooks, 0), dtype=np.int64)
        if mono.samples.size:
            with torch.inference_mode():
                encoded = self._model.encode(
                    torch.from_numpy(mono.samples)[None],
                    bandwidth=BANDWIDTH_KBPS[self.n_codebooks],
                )
            codes = encoded.audio_codes[0, 0].numpy()
        return CodeSequence(codes, self.frame_rate, self.identity)

    def decoder_stream(self) -> EncodecDecoderStream:
        """A decoder that takes its codes in chunks."""
        return EncodecDecoderStream(self._model)


class EncodecDecoderStream:
    """Decodes chunk by chunk, carrying what each layer remembers of its past input.

    The decoder is causal, so every sample of a frame is final when the frame arrives. Its
    convolutions mirror their first inputs into the past: the first few frames wait until
    there are enough to mirror.
    """

    def __init__(self, model: EncodecModel) -> None:
        self._model = model
        self._frames_to_mirror = int(model.config.kernel_size)
        self.reset()

    def reset(self) -> None:
        """Forget everything, as before the first chunk."""
        self._waiting: list[Int[np.ndarray, "codebooks frames"]] = []
        self._memory: dict[Any, Any] = {}

    def push(self, codes: Int[np.ndarray, "codebooks frames"]) -> Float32[np.ndarray, " samples"]:
        """Take more code frames; return the samples that can no longer change.

        Raises:
            CheckpointError: If codes or their number of codebooks are out of range.
        """
        quantizer = self._model.quantizer
        if codes.shape[0] > len(quantizer.layers) or (
            codes.size and not 0 <= codes.min() <= codes.max() < quantizer.codebook_size
        ):
            raise CheckpointError(
                f"the codes {codes.shape} are outside this codec's range",
                f"Give {quantizer.codebook_size} entries in {len(quantizer.layers)} codebooks.",
            )
        self._waiting.append(codes)
        n_waiting = sum(chunk.shape[1] for chunk in self._waiting)
        if n_waiting == 0 or (not self._memory and n_waiting < self._frames_to_mirror):
            return np.zeros(0, dtype=np.float32)
        return self._decode_waiting()

    def flush(self) -> Float32[np.ndarray, " samples"]:
        """Return the samples still held back and start again."""
        held_back = any(chunk.shape[1] for chunk in self._waiting)
        samples = self._decode_waiting() if held_back else np.zeros(0, dtype=np.float32)
        self.reset()
        return samples

    def _decode_waiting(self) -> Float32[np.ndarray, " samples"]:
        codes = torch.from_numpy(np.concatenate(self._waiting, axis=1)).long()
        self._waiting = []
        with torch.inference_mode():
            hidden = self._model.quantizer.decode(codes[:, None])
            for layer in self._model.decoder.layers:
                hidden = self._advance(layer, hidden)
        return hidden[0, 0].numpy()

    def _advance(self, layer: torch.nn.Module, hidden: torch.Tensor) -> torch.Tensor:
        """One layer's output for new input, given its cached input, which it updates."""
        from transformers.models.encodec import modeling_encodec as encodec

        if isinstance(layer, encodec.EncodecResnetBlock):
            inner = hidden
            for part in layer.block:
                inner = self._advance(part, inner)
            return self._advance(layer.shortcut, hidden) + inner
        if isinstance(layer, encodec.EncodecLSTM):
            steps = hidden.permute(2, 0, 1)
            output, self._memory[layer] = layer.lstm(steps, self._memory.get(layer))
            return (output + steps).permute(1, 2, 0)
        if isinstance(layer, encodec.EncodecConv1d):
            return self._advance_convolution(layer, hidden)
        if isinstance(layer, encodec.EncodecConvTranspose1d):
            past = self._memory.get(layer)
            self._memory[layer] = hidden[..., -1:]
            if past is None:
                return layer(hidden)
            return layer(torch.cat([past, hidden], dim=-1))[..., layer.conv.stride[0] :]
        return layer(hidden)

    def _advance_convolution(self, layer: Any, hidden: torch.Tensor) -> torch.Tensor:
        past = self._memory.get(layer)
        seen = hidden if past is None else torch.cat([past, hidden], dim=-1)
        remembered = min(int(layer.padding_total), seen.shape[-1])
        self._memory[layer] = seen[..., seen.shape[-1] - remembered :]
        return layer(hidden) if past is None else layer.conv(seen)


def _model_type(directory: Path) -> str | None:
    """What ``transformers`` calls the model in a directory; ``None`` if it is none of its own."""
    try:
        values = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return values.get("model_type") if isinstance(values, dict) else None


def is_encodec(source: str | Path) -> bool:
    """Whether a source names EnCodec: its ``.th`` file, directory, or a hub id such as ``HUB_ID``.

    Example:
        >>> is_encodec("facebook/encodec_24khz"), is_encodec("codec")
        (True, False)
    """
    path = Path(source)
    if path.is_dir():
        return _model_type(path) == "encodec"
    owner, slash, name = str(source).partition("/")
    is_hub_id = bool(owner and slash) and "/" not in name and "encodec" in name.lower()
    return path.suffix == ".th" or is_hub_id


def rename_original(name: str) -> str:
    """The name in ``transformers.EncodecModel`` of a tensor in the original file.

    Example:
        >>> rename_original("decoder.model.3.convtr.convtr.weight_g")
        'decoder.layers.3.conv.parametrizations.weight.original0'
    """
    for old, new in _RENAMES:
        name = name.replace(old, new)
    return name


def _load_original(path: Path, expected_sha256: str) -> EncodecModel:
    import pickle

    from transformers import EncodecConfig, EncodecModel

    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != expected_sha256:
        raise CheckpointError(
            f"{path} has SHA-256 {digest[:16]}…, not {expected_sha256[:16]}…",
            "Download encodec_24khz-d7cc33bc.th again.",
        )
    try:
        tensors = torch.load(path, map_location="cpu", weights_only=True)
        model = EncodecModel(EncodecConfig())
        model.load_state_dict({rename_original(name): value for name, value in tensors.items()})
    except (pickle.UnpicklingError, RuntimeError, AttributeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise CheckpointError(
            f"{path} does not hold EnCodec's tensors ({reason})",
            "Name the original encodec_24khz-d7cc33bc.th.",
        ) from error
    return model


def _load_directory(path: Path) -> EncodecModel:
    from safetensors import SafetensorError
    from transformers import EncodecModel

    remedy = f"Name a directory with config.json and model.safetensors of {HUB_ID}."
    if _model_type(path) != "encodec":
        raise CheckpointError(f"{path} holds no EnCodec", remedy)
    try:
        loaded: Any = EncodecModel.from_pretrained(
            path, local_files_only=True, use_safetensors=True, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise CheckpointError(f"{path} holds no readable EnCodec ({reason})", remedy) from error
    model, info = loaded
    if info["missing_keys"]:
        raise CheckpointError(f"{path} lacks {len(info['missing_keys'])} tensors", remedy)
    return model


def _fetch(hub_id: str, revision: str | None) -> Path:
    """The directory of a hub model: the cached one, else a fresh download."""
    import huggingface_hub as hub
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        weights = hub.hf_hub_download(
            hub_id, _HUB_FILES[-1], revision=revision, local_files_only=True
        )
        return Path(weights).parent
    except HFValidationError as error:
        raise CheckpointError(f"{hub_id!r} is not a hub id", "Give OWNER/NAME.") from error
    except LocalEntryNotFoundError:
        pass
    try:
        _require_hub(hub.constants.ENDPOINT, offline=hub.constants.HF_HUB_OFFLINE)
        paths = [hub.hf_hub_download(hub_id, name, revision=revision) for name in _HUB_FILES]
    except HfHubHTTPError as error:
        raise CheckpointError(
            f"the hub refused {hub_id} ({error.response.status_code})",
            "Check the id and the revision.",
        ) from error
    except OSError as error:
        raise DependencyError(
            f"{hub_id} is not cached and the hub cannot be reached",
            "Connect to the network, or give a local directory or the original .th file.",
        ) from error
    return Path(paths[-1]).parent


def _require_hub(endpoint: str, *, offline: bool) -> None:
    """Ask once whether the hub answers: its own client would ask for half a minute.

    Raises:
        OSError: If it does not, or the user chose to be offline.
    """
    if offline:
        raise ConnectionError("offline by HF_HUB_OFFLINE")
    request = urllib.request.Request(endpoint, method="HEAD")
    try:
        urllib.request.urlopen(request, timeout=HUB_TIMEOUT_S).close()
    except urllib.error.HTTPError:
        return


def _digest(model: EncodecModel) -> str:
    """First 16 hexadecimal digits of SHA-256 over the tensors that decide codes and sound."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        if not name.endswith((".inited", ".cluster_size", ".embed_avg")):
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(tensor.float().numpy()).tobytes())
    return digest.hexdigest()[:16]
