from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from dancetomusic.errors import OutputError, VideoError
from dancetomusic.io.audio import read_audio
from dancetomusic.io.mux import VIDEO_SUFFIXES, mux
from dancetomusic.io.video import probe_video, read_frames
from dancetomusic.types import Waveform
from tests.video_factory import (
    click_times,
    clicks,
    cut_in,
    numbered,
    quadrants,
    read_number,
    set_rotation,
    write_video,
)

CLICKS = [0.0, 0.25, 0.8, 1.9]


def music(duration_s: float = 2.0, rate: int = 24_000, times: list[float] = CLICKS) -> Waveform:
    return Waveform(clicks(times, duration_s, rate)[None], rate)


def heard_clicks(path: Path) -> list[float]:
    heard = read_audio(path)
    assert heard is not None
    return click_times(heard.samples[0], heard.sample_rate)


def numbers(path: Path) -> list[int]:
    return [read_number(frame) for frame in read_frames(path)]


def coded(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(video=0) if packet.size]


@pytest.mark.parametrize("rate", [24_000, 44_100, 48_000, 32_000])
@pytest.mark.parametrize("suffix", VIDEO_SUFFIXES)
def test_sound_starts_with_the_picture_and_pictures_are_copied(
    tmp_path: Path, suffix: str, rate: int
) -> None:
    codec = "libvpx-vp9" if suffix == ".webm" else "libx264"
    source = write_video(
        tmp_path / "in.mkv", codec=codec, sound=clicks([1.0], 2), sound_codec="libopus"
    )
    output = tmp_path / f"out{suffix}"
    mux(source, music(rate=rate), output)
    assert heard_clicks(output) == pytest.approx(CLICKS, abs=0.001)
    assert coded(output) == coded(source)
    assert len(numbers(output)) == 48
    with av.open(str(output)) as container:
        assert [stream.type for stream in container.streams] == ["video", "audio"]
        wanted = "opus" if suffix in (".mkv", ".webm") else "aac"
        assert container.streams.audio[0].codec_context.codec.canonical_name == wanted


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("sound_s", [0.5, 7.0])
def test_sound_gets_the_pictures_length(tmp_path: Path, suffix: str, sound_s: float) -> None:
    source = write_video(tmp_path / "in.mp4", n_frames=48)
    mux(source, music(sound_s, times=[0.1, 0.4]), tmp_path / f"out{suffix}")
    heard = read_audio(tmp_path / f"out{suffix}")
    assert heard is not None and heard.duration_s == pytest.approx(2, abs=0.002)
    assert heard_clicks(tmp_path / f"out{suffix}") == pytest.approx([0.1, 0.4], abs=0.001)
    assert probe_video(tmp_path / f"out{suffix}").duration_s == pytest.approx(2, abs=0.002)


@pytest.mark.parametrize(
    ("codec", "tag"),
    [("libx265", "hvc1"), ("libx265", "hev1"), ("libsvtav1", None), ("mpeg4", None)],
)
@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_codecs_and_their_tags_survive(
    tmp_path: Path, codec: str, tag: str | None, suffix: str
) -> None:
    source = write_video(tmp_path / "in.mp4", codec=codec, codec_tag=tag)
    output = tmp_path / f"out{suffix}"
    mux(source, music(), output)
    assert numbers(output) == numbers(source) == list(range(48))
    if tag and suffix != ".mkv":
        with av.open(str(output)) as container:
            assert container.streams.video[0].codec_context.codec_tag == tag


@pytest.mark.parametrize("degrees", [90, 180, 270])
@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_rotation_survives(tmp_path: Path, degrees: int, suffix: str) -> None:
    source = write_video(tmp_path / "in.mp4", picture=quadrants)
    set_rotation(source, degrees)
    output = tmp_path / f"out{suffix}"
    mux(source, music(), output)
    assert probe_video(output).rotation_deg == degrees
    np.testing.assert_array_equal(next(read_frames(output)), next(read_frames(source)))


@pytest.mark.parametrize("gop", [250, 25])
@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_what_an_edit_list_hides_stays_hidden(tmp_path: Path, gop: int, suffix: str) -> None:
    source = write_video(
        tmp_path / "in.mp4", fps=25, n_frames=207, gop=gop, sound=clicks([6], 8.28)
    )
    cut_in(source, 5.0)
    output = tmp_path / f"out{suffix}"
    mux(source, music(3.28), output)
    assert numbers(output) == numbers(source)
    assert numbers(output)[0] == 125
    assert heard_clicks(output) == pytest.approx(CLICKS, abs=0.001)


def test_matroska_leaves_hidden_pictures_out_if_it_can(tmp_path: Path) -> None:
    source = cut_in(write_video(tmp_path / "in.mp4", fps=25, n_frames=207, gop=25), 5.0)
    mux(source, music(), tmp_path / "out.mkv")
    assert numbers(tmp_path / "out.mkv") == numbers(source)
    assert heard_clicks(tmp_path / "out.mkv") == pytest.approx(CLICKS, abs=0.001)


def test_matroska_refuses_pictures_that_build_on_hidden_ones(tmp_path: Path) -> None:
    source = cut_in(write_video(tmp_path / "in.mp4", fps=25, n_frames=207, gop=250), 5.0)
    with pytest.raises(OutputError, match=r"Name an \.mp4 file"):
        mux(source, music(), tmp_path / "out.mkv")
    assert list(tmp_path.iterdir()) == [source]


@pytest.mark.parametrize("source_suffix", [".mp4", ".mkv", ".ts"])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_late_picture_stays_late(tmp_path: Path, source_suffix: str, suffix: str) -> None:
    times = [Fraction(1, 2) + Fraction(k, 25) for k in range(30)]
    source = write_video(tmp_path / f"in{source_suffix}", times=times, sound=clicks([0.2], 2))
    output = tmp_path / f"out{suffix}"
    mux(source, music(), output)
    assert numbers(output) == numbers(source)
    assert heard_clicks(output) == pytest.approx([0.0, 0.25, 0.8], abs=0.001)


def test_variable_rate_survives(tmp_path: Path) -> None:
    gaps = [10, 90, 200, 17, 40, 500, 33] * 3
    times = [Fraction(sum(gaps[:k]), 1000) for k in range(len(gaps))]
    source = write_video(tmp_path / "in.mp4", times=times)
    mux(source, music(), tmp_path / "out.mp4")
    assert numbers(tmp_path / "out.mp4") == numbers(source)


def test_truncated_video_gets_sound_for_what_is_left(tmp_path: Path) -> None:
    source = write_video(
        tmp_path / "in.mp4", n_frames=240, container_options={"movflags": "faststart"}
    )
    source.write_bytes(source.read_bytes()[: int(source.stat().st_size * 0.8)])
    mux(source, music(10), tmp_path / "out.mp4")
    left, heard = probe_video(tmp_path / "out.mp4"), read_audio(tmp_path / "out.mp4")
    assert heard is not None and not left.truncated
    assert 3 < left.duration_s < 10
    assert heard.duration_s == pytest.approx(left.duration_s, abs=0.002)


@pytest.mark.parametrize("suffix", VIDEO_SUFFIXES)
def test_drawn_pictures_are_coded_at_their_times(tmp_path: Path, suffix: str) -> None:
    source = write_video(tmp_path / "in.mp4", fps=60, n_frames=120, sound=clicks([1], 2))
    seen: list[int] = []

    def draw(k: int, frame: np.ndarray) -> np.ndarray:
        seen.append(read_number(frame))
        return numbered(1000 + k)

    output = tmp_path / f"out{suffix}"
    mux(source, music(), output, draw=draw)
    assert seen == [int(k * 2.5) for k in range(48)]
    assert numbers(output) == [1000 + k for k in range(48)]
    assert heard_clicks(output) == pytest.approx(CLICKS, abs=0.001)
    codec = "vp9" if suffix == ".webm" else "h264"
    assert probe_video(output).video_codec == codec


def test_drawing_keeps_turn_size_and_colour(tmp_path: Path) -> None:
    source = write_video(tmp_path / "in.mp4", picture=quadrants)
    set_rotation(source, 90)
    mux(source, music(), tmp_path / "out.mp4", draw=lambda _, frame: frame[:-1])
    info = probe_video(tmp_path / "out.mp4")
    assert (info.width, info.height, info.rotation_deg) == (64, 96, 0)
    frame = next(read_frames(tmp_path / "out.mp4")).astype(int)
    shown = np.rot90(quadrants(), -1)
    assert np.mean(np.abs(frame[:94] - shown[:94])) < 12


def test_error_in_drawing_leaves_nothing(tmp_path: Path) -> None:
    source = write_video(tmp_path / "in.mp4")

    def draw(k: int, frame: np.ndarray) -> np.ndarray:
        raise KeyError(k)

    with pytest.raises(KeyError):
        mux(source, music(), tmp_path / "out.mp4", draw=draw)
    assert list(tmp_path.iterdir()) == [source]


@pytest.mark.parametrize("suffix", VIDEO_SUFFIXES)
def test_same_input_gives_the_same_file(tmp_path: Path, suffix: str) -> None:
    codec = "libvpx-vp9" if suffix == ".webm" else "libx264"
    source = write_video(tmp_path / "in.mp4", codec=codec)
    for name in ("a", "b"):
        mux(source, music(), tmp_path / f"{name}{suffix}")
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


def test_many_channels_and_loud_sound_are_accepted(tmp_path: Path) -> None:
    source = write_video(tmp_path / "in.mp4")
    mux(source, Waveform(np.tile(music().samples * 5, (3, 1)), 24_000), tmp_path / "out.mp4")
    heard = read_audio(tmp_path / "out.mp4")
    assert heard is not None and np.abs(heard.samples).max() < 1.3
    assert heard_clicks(tmp_path / "out.mp4") == pytest.approx(CLICKS, abs=0.001)


def refuse(source: Path, output: Path, match: str, error: type[Exception] = OutputError) -> None:
    before = sorted(output.parent.iterdir()) if output.parent.is_dir() else []
    with pytest.raises(error, match=match) as caught:
        mux(source, music(), output)
    assert "\n" not in str(caught.value)
    assert before == (sorted(output.parent.iterdir()) if output.parent.is_dir() else [])


def test_refusals(tmp_path: Path) -> None:
    source = write_video(tmp_path / "in.mp4")
    content = source.read_bytes()
    refuse(source, source, "is the input")
    (tmp_path / "link.mp4").symlink_to(source)
    refuse(source, tmp_path / "link.mp4", "is the input")
    refuse(source, tmp_path / "out.xyz", "suffix.*mp4")
    refuse(source, tmp_path / "out", "suffix")
    refuse(source, tmp_path / "none" / "out.mp4", "does not exist")
    refuse(tmp_path / "none.mp4", tmp_path / "out.mp4", "No such file", VideoError)
    (tmp_path / "folder.mp4").mkdir()
    refuse(source, tmp_path / "folder.mp4", "is a directory")
    (tmp_path / "empty.mp4").touch()
    refuse(tmp_path / "empty.mp4", tmp_path / "out.mp4", "is empty", VideoError)
    assert source.read_bytes() == content


@pytest.mark.parametrize(
    ("name", "codec", "suffix"),
    [
        ("browser.webm", "libvpx", ".mp4"),
        ("browser.webm", "libvpx", ".mov"),
        ("edit.mkv", "libvpx-vp9", ".mov"),
        ("phone.mp4", "libx264", ".webm"),
        ("loop.gif", "gif", ".mp4"),
        ("loop.gif", "gif", ".mkv"),
    ],
)
def test_pictures_that_a_container_cannot_hold_are_re_encoded(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, codec: str, suffix: str
) -> None:
    source = tmp_path / name
    if codec == "gif":
        with av.open(str(source), "w") as output:
            stream = output.add_stream("gif", rate=10)
            stream.width, stream.height, stream.pix_fmt = 160, 120, "rgb8"
            for number in range(20):
                picture = av.VideoFrame.from_ndarray(
                    np.full((120, 160, 3), 12 * number, np.uint8), format="rgb24"
                )
                output.mux(stream.encode(picture.reformat(format="rgb8")))
            output.mux(stream.encode(None))
    else:
        write_video(source, codec=codec)
    made = tmp_path / f"out{suffix}"
    mux(source, music(), made)
    assert len(caplog.records) == 1 and "re-encoded" in caplog.text
    before, after = probe_video(source), probe_video(made)
    assert after.video_codec == ("vp9" if suffix == ".webm" else "h264")
    assert after.duration_s == pytest.approx(before.duration_s, abs=0.11)
    assert after.has_audio


@pytest.mark.parametrize("suffix", VIDEO_SUFFIXES)
def test_sound_is_stereo_of_192_kbit_or_more_with_tags(tmp_path: Path, suffix: str) -> None:
    codec = "libvpx-vp9" if suffix == ".webm" else "libx264"
    source = write_video(tmp_path / "in.mkv", codec=codec, n_frames=72)
    rng = np.random.default_rng(0)
    sound = Waveform(rng.uniform(-0.3, 0.3, (2, 3 * 44_100)).astype(np.float32), 44_100)
    tags = {"title": "Waltz – für N.", "comment": "Grooves: Groove MIDI Dataset, CC BY 4.0"}
    mux(source, sound, tmp_path / f"out{suffix}", tags=tags)
    with av.open(str(tmp_path / f"out{suffix}")) as container:
        found = {name.lower(): text for name, text in container.metadata.items()}
        assert {name: found[name] for name in tags} == tags
        assert container.streams.audio[0].codec_context.layout.name == "stereo"
        size = sum(packet.size for packet in container.demux(audio=0))
    assert 8 * size / 3 > 192_000
    heard = read_audio(tmp_path / f"out{suffix}", 48_000, 2)
    assert heard is not None and abs(np.corrcoef(heard.samples)[0, 1]) < 0.1
