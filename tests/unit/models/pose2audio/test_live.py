"""Codes sampled block by block equal one pass, and a composer plays them on a beat."""

import numpy as np
import pytest
import torch

from dancetomusic.codec.spectral import SpectralCodec, SpectralCodecConfig, SpectralCodecModel
from dancetomusic.errors import CheckpointError
from dancetomusic.models.live import FADE_OUT_BARS, BeatEstimate, Composer
from dancetomusic.models.pose2audio.code_stream import CodeStream
from dancetomusic.models.pose2audio.live import CodeComposer
from dancetomusic.models.pose2audio.network import Pose2Audio, Pose2AudioConfig
from dancetomusic.models.pose2audio.token_decoder import TokenDecoder, TokenDecoderConfig
from dancetomusic.models.pose_encoder.network import PoseEncoderConfig
from dancetomusic.nn.sampling import SamplingConfig
from dancetomusic.rhythm.beats import steady_grid
from dancetomusic.rhythm.features import rhythm_features

RATE = 75.0
GUIDED = SamplingConfig(temperature=0.0, cfg_scale=2.5)


def _decoder(**changes: object) -> TokenDecoder:
    shape = {
        "rhythm_features": 9, "memory_dim": 8, "codebook_size": 16, "d_model": 32, "n_layers": 2,
        "n_heads": 2, "memory_layers": 0, "causal": True,
    }  # fmt: skip
    return TokenDecoder(TokenDecoderConfig(**{**shape, **changes})).eval()


def _rhythm(n_frames: int, reach: int) -> np.ndarray:
    rows = rhythm_features(steady_grid(120.0, n_frames / RATE), RATE, n_frames)
    return np.concatenate([np.zeros_like(rows[:reach]), rows])


def _guided(decoder: TokenDecoder) -> CodeStream:
    return CodeStream(decoder, sampling=GUIDED, weight_bits=32)


def _streamed(stream: CodeStream, rhythm: np.ndarray, n_frames: int, block: int) -> np.ndarray:
    """Codes written a block at a time."""
    starts = range(0, n_frames, block)
    blocks = [stream.write(rhythm[at : at + block + 2 * stream.reach]) for at in starts]
    return np.concatenate(blocks, axis=1)


def test_a_decoder_that_sees_ahead_is_refused() -> None:
    with pytest.raises(CheckpointError, match="cannot write on a stream"):
        CodeStream(_decoder(causal=False))


@pytest.mark.slow(1)
def test_codes_of_the_first_window_are_those_of_generate() -> None:
    decoder = _decoder()
    stream = _guided(decoder)
    rhythm = _rhythm(300, stream.reach)
    streamed = _streamed(stream, rhythm, 200, 4)
    whole = decoder.generate(
        torch.from_numpy(rhythm[None, stream.reach :]),
        sampling=GUIDED,
    )
    assert streamed.shape == (2, 200 - stream.lag)
    assert np.array_equal(streamed, whole[0, :, : streamed.shape[1]].numpy())


def test_a_simple_stream_is_that_without_guidance() -> None:
    decoder = _decoder()
    stream = _guided(decoder)
    stream.simplify(True)
    rhythm = _rhythm(150, stream.reach)
    streamed = _streamed(stream, rhythm, 100, 5)
    plain = decoder.generate(
        torch.from_numpy(rhythm[None, stream.reach :]), sampling=SamplingConfig(temperature=0.0)
    )
    assert np.array_equal(streamed, plain[0, :, : streamed.shape[1]].numpy())


@pytest.mark.slow(1)
def test_guidance_returns_with_the_window_that_begins_next() -> None:
    def played(simple_until: int) -> np.ndarray:
        stream = _guided(decoder)
        blocks = []
        for at in range(0, 500, 5):
            stream.simplify(at < simple_until)
            blocks.append(stream.write(rhythm[at : at + 5 + 2 * stream.reach]))
        return np.concatenate(blocks, axis=1)

    decoder = _decoder()
    rhythm = _rhythm(560, 15)
    always, half, early = played(500), played(350), played(200)
    assert np.array_equal(always[:, :440], half[:, :440])
    assert np.array_equal(always[:, :440], early[:, :440])  # the first window stays simple
    # The second one began at 300: simple where that was still so, else guided.
    assert np.array_equal(always[:, 440:], half[:, 440:])
    assert not np.array_equal(always[:, 455:], early[:, 455:])


@pytest.mark.slow(1)
def test_the_next_window_continues_as_generate_does_from_a_prefix() -> None:
    decoder = _decoder()
    stream = _guided(decoder)
    rhythm = _rhythm(700, stream.reach)
    streamed = _streamed(stream, rhythm, 600, 5)
    begin, context = 300, 150  # the second window listens from 4 s on, and plays from 6 s on
    window = decoder.generate(
        torch.from_numpy(rhythm[None, stream.reach + begin : stream.reach + begin + 320]),
        prefix_codes=torch.from_numpy(streamed[None, :, begin : begin + context]),
        sampling=GUIDED,
    )[0].numpy()
    same = streamed[:, begin + context : 590] == window[:, context : 590 - begin]
    assert same.mean() > 0.95  # the first rows of rhythm of a window know what was before it


def test_memory_is_seen_from_when_it_is_known() -> None:
    decoder = _decoder()
    rhythm = _rhythm(300, 15)

    def played(at: int | None) -> np.ndarray:
        stream = CodeStream(
            decoder, sampling=SamplingConfig(temperature=0.0, cfg_scale=6.0), weight_bits=32
        )
        blocks = []
        for number in range(40):
            if number == at:
                stream.remember(np.full(8, 30.0, np.float32), frames_ago=10.0)
            blocks.append(stream.write(rhythm[number * 4 : number * 4 + 4 + 2 * stream.reach]))
        return np.concatenate(blocks, axis=1)

    without, given = played(None), played(20)
    assert np.array_equal(without[:, :79], given[:, :79])
    assert not np.array_equal(without, given)


@pytest.fixture(scope="module")
def composer_parts() -> tuple[Pose2Audio, SpectralCodec]:
    codec = SpectralCodec(
        SpectralCodecModel(
            SpectralCodecConfig(
                encoder_channels=8, decoder_channels=8, encoder_blocks=1, decoder_blocks=2,
                codebook_size=16,
            )
        )
    )  # fmt: skip
    config = Pose2AudioConfig(
        PoseEncoderConfig(channels=8, dilations=(1,), causal=True),
        _decoder().config,
        codec.identity,
    )
    return Pose2Audio(config).eval(), codec


def _compose(
    composer: Composer, blocks: int, *, present: bool, from_block: int = 0
) -> list[np.ndarray]:
    beat = BeatEstimate(bpm=120.0)
    sound = []
    for number in range(from_block, from_block + blocks):
        made = composer.compose(0.04 * number, beat, 0.5, present)
        assert made.samples.shape == (960,)
        sound.append(made.samples)
    return sound


@pytest.mark.slow
def test_music_fades_out_within_two_bars_and_comes_back(
    composer_parts: tuple[Pose2Audio, SpectralCodec],
) -> None:
    model, codec = composer_parts
    composer = CodeComposer(model, codec, style=0, sampling=SamplingConfig(), seed=0)
    assert composer.silent
    assert not np.concatenate(_compose(composer, 5, present=False)).any()
    playing = np.concatenate(_compose(composer, 50, present=True, from_block=5))
    assert np.abs(playing[-960:]).max() > 0
    two_bars = round(FADE_OUT_BARS * 4 * 0.5 / 0.04)
    fading = _compose(composer, two_bars, present=False, from_block=55)
    assert np.abs(fading[0]).max() > 0
    assert composer.silent
    assert not np.concatenate(_compose(composer, 5, present=False, from_block=200)).any()
    back = np.concatenate(_compose(composer, 20, present=True, from_block=205))
    assert np.abs(back[-960:]).max() > 0


def test_a_blocks_place_is_that_of_its_codes(
    composer_parts: tuple[Pose2Audio, SpectralCodec],
) -> None:
    model, codec = composer_parts
    composer = CodeComposer(model, codec, style=0, sampling=SamplingConfig(), seed=0)
    beat = BeatEstimate(bpm=120.0)
    first = composer.compose(0.0, beat, 0.5, True)
    second = composer.compose(0.04, beat, 0.5, True)
    assert first.codes_at == composer.lag == (1 + 2) * 320 + 480
    assert second.codes_at == first.codes_at + 960
    assert second.position == pytest.approx(0.08, abs=1e-6)


def test_rhythm_before_a_block_is_that_which_was_played(
    composer_parts: tuple[Pose2Audio, SpectralCodec], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, codec = composer_parts
    given, write = [], CodeStream.write
    monkeypatch.setattr(
        CodeStream, "write", lambda self, rows: (given.append(rows), write(self, rows))[1]
    )
    composer = CodeComposer(model, codec, style=0, sampling=SamplingConfig(), seed=0)
    for number, bpm in enumerate((120.0, 90.0)):
        composer.compose(0.04 * number, BeatEstimate(bpm=bpm), 0.5, True)
    assert given[0].shape == given[1].shape == (3 + 2 * 15, 9)
    assert np.array_equal(given[1][:15], given[0][3:18])
