"""Make the golden files again; say why in the commit that changes them."""

from pathlib import Path

import numpy as np

from dancetomusic.codec.spectral import SpectralCodec
from dancetomusic.released import released_checkpoint
from dancetomusic.types import Waveform

FOLDER = Path(__file__).resolve().parent


def drum_like_sound() -> Waveform:
    """Two seconds of decaying thumps and noise bursts, from a formula."""
    rng = np.random.default_rng(0)
    t = np.arange(48_000) / 24_000
    since = t % 0.5
    thump = np.exp(-since / 0.08) * np.sin(2 * np.pi * 60 * since)
    burst = np.exp(-((t + 0.25) % 0.5) / 0.03) * rng.normal(0, 0.3, t.size)
    return Waveform((0.5 * thump + 0.4 * burst)[None].astype(np.float32), 24_000)


if __name__ == "__main__":
    codec = SpectralCodec.from_pretrained(released_checkpoint("codec"))
    codes = codec.encode(drum_like_sound())
    np.savez_compressed(FOLDER / "codec.npz", codes=codes.codes.astype(np.int16), id=codes.codec_id)
