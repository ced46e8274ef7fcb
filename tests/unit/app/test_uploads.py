from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import av
import numpy as np
import pytest
from starlette.requests import ClientDisconnect

from dancetomusic.app.limits import Limits, Refusal
from dancetomusic.app.uploads import Clips, file_name, media_type
from tests.app_server import claim_hours
from tests.video_factory import declare_duration, write_video


async def pieces(content: bytes, size: int = 1000) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


def receive(folder, content: bytes, **limits):
    async def run():
        clips = Clips(folder, Limits(**limits))
        return clips, await clips.receive(pieces(content), None, client="me", shown="my/dance.mp4")

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("start", "known"),
    [
        (b"\x00\x00\x00\x18ftypisom", "video/mp4"),
        (b"\x00\x00\x00\x08wide\x00\x00\x00\x00mdat", "video/mp4"),
        (b"\x1aE\xdf\xa3\x01", "video/webm"),
        (b"RIFF\x00\x00\x00\x00AVI LIST", "video/x-msvideo"),
        (b"G" + bytes(187) + b"G", "video/mp2t"),
        (bytes(4) + b"G" + bytes(191) + b"G", "video/mp2t"),
        (b"\x00\x00\x01\xba\x44", "video/mpeg"),
        (b"FLV\x01\x05", "video/x-flv"),
        (b"OggS\x00", "video/ogg"),
        (b"RIFF\x00\x00\x00\x00WAVEfmt ", ""),
        (b"PK\x03\x04", ""),
        (b"\x1f\x8b\x08", ""),
        (b"G" + bytes(187) + b"H", ""),
        (b"#EXTM3U\nhttp://somewhere", ""),
        (b"", ""),
        (bytes(200), ""),
    ],
)
def test_a_container_is_known_by_its_first_bytes(start, known):
    assert media_type(start) == known


CODECS = {".mts": "h264", ".mpg": "mpeg2video", ".flv": "flv", ".ogv": "libvpx"}


@pytest.mark.parametrize("suffix", CODECS)
def test_containers_of_cameras_and_old_programs_are_taken(tmp_path, suffix):
    options = {"mpegts_m2ts_mode": "1"} if suffix == ".mts" else {}
    video = tmp_path / f"v{suffix}"
    with av.open(
        str(video), "w", format="mpegts" if suffix == ".mts" else None, container_options=options
    ) as output:
        stream = output.add_stream(CODECS[suffix], 24)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for k in range(48):
            picture = np.full((64, 96, 3), 5 * k, np.uint8)
            output.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        output.mux(stream.encode(None))
    folder = tmp_path / "kept"
    folder.mkdir()
    _, clip = receive(folder, video.read_bytes())
    assert clip.video["duration_s"] == pytest.approx(2.0, abs=0.15)


def test_a_video_is_kept_under_a_random_name(tmp_path):
    video = write_video(tmp_path / "v.mp4", n_frames=36)
    folder = tmp_path / "kept"
    folder.mkdir()
    clips, clip = receive(folder, video.read_bytes())
    assert clip.source.read_bytes() == video.read_bytes()
    assert clip.video["width"] > 0 and clip.video["duration_s"] == pytest.approx(1.5, abs=0.1)
    assert "path" not in clip.video and clip.name == "my_dance.mp4"
    assert len(clip.id) >= 20 and clip.id not in str(clip.source)
    assert clips.find(clip.id) is clip
    clips.forget(clip)
    assert not clip.folder.exists()
    with pytest.raises(Refusal) as gone:
        clips.find(clip.id)
    assert gone.value.status == 404


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_a_file_that_claims_eight_hours_is_refused(tmp_path, suffix):
    video = claim_hours(tmp_path / f"v{suffix}", 8.0)
    folder = tmp_path / "kept"
    folder.mkdir()
    with pytest.raises(Refusal, match=r"lasts \d{3,} s") as refusal:
        receive(folder, video)
    assert refusal.value.status == 413
    assert list(folder.iterdir()) == []


def test_a_claim_that_no_reader_believes_changes_nothing(tmp_path):
    video = declare_duration(write_video(tmp_path / "v.mp4", n_frames=36), 8 * 3600.0)
    folder = tmp_path / "kept"
    folder.mkdir()
    _, clip = receive(folder, video.read_bytes())
    assert clip.video["duration_s"] == pytest.approx(1.5, abs=0.1)


def test_size_is_counted_not_believed(tmp_path):
    with pytest.raises(Refusal, match="too large") as refusal:
        receive(tmp_path, b"\x00\x00\x00\x18ftypisom" + bytes(5000), upload_bytes=4000)
    assert refusal.value.status == 413
    assert list(tmp_path.iterdir()) == []


def test_an_empty_file_is_refused(tmp_path):
    with pytest.raises(Refusal, match="empty"):
        receive(tmp_path, b"")


def test_a_silent_sender_is_given_up(tmp_path):
    async def silent() -> AsyncIterator[bytes]:
        yield b"\x00\x00\x00\x18ftypisom"
        await asyncio.sleep(60)

    async def run():
        await Clips(tmp_path, Limits(idle_s=0.05)).receive(silent(), None)

    with pytest.raises(Refusal) as refusal:
        asyncio.run(run())
    assert refusal.value.status == 408
    assert list(tmp_path.iterdir()) == []


def test_an_upload_that_breaks_off_is_said_in_one_line(tmp_path, caplog):
    async def torn() -> AsyncIterator[bytes]:
        yield b"\x00\x00\x00\x18ftypisom"
        raise ClientDisconnect

    with pytest.raises(Refusal, match="broke off"):
        asyncio.run(Clips(tmp_path, Limits()).receive(torn(), None))
    assert [record.getMessage() for record in caplog.records] == [
        "an upload broke off after 12 bytes"
    ]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow(1)
def test_the_oldest_of_the_clients_own_makes_room(tmp_path):
    video = write_video(tmp_path / "v.mp4", n_frames=36).read_bytes()
    folder = tmp_path / "kept"
    folder.mkdir()

    async def run():
        clips = Clips(folder, Limits(stored_bytes=round(2.5 * len(video))))

        async def send(client):
            return await clips.receive(pieces(video), len(video), client=client)

        first, second = await send("me"), await send("me")
        third = await send("me")
        with pytest.raises(Refusal) as gone:
            clips.find(first.id)
        assert gone.value.status == 404
        assert [clips.find(clip.id) for clip in (second, third)] == [second, third]
        with pytest.raises(Refusal) as full:
            await send("another")
        assert full.value.status == 429 and len(clips) == 2

    asyncio.run(run())


def test_a_full_server_says_when_there_is_room(tmp_path):
    (tmp_path / "kept").write_bytes(bytes(100))
    with pytest.raises(Refusal) as refusal:
        receive(tmp_path, b"\x00\x00\x00\x18ftypisom", stored_bytes=50)
    assert refusal.value.status == 429
    assert refusal.value.retry_after_s is not None


@pytest.mark.parametrize(
    ("wish", "shown"),
    [
        ("my dance take 2", "my dance take 2.wav"),
        ("tänzerin_ダンス (1)", "tänzerin_ダンス (1).wav"),
        ("../../etc/passwd", "etc_passwd.wav"),
        ('x"; filename="y', "x__ filename__y.wav"),
        ("a\r\nSet-Cookie: b", "a__Set-Cookie_ b.wav"),
        ("C:\\con|<>*?", "C__con.wav"),
        (".hidden.", "hidden.wav"),
        ("", "dance.wav"),
        ("...", "dance.wav"),
        ("a" * 900, "a" * 80 + ".wav"),
    ],
)
def test_a_download_is_named_after_the_upload(wish, shown):
    assert file_name(wish, ".wav") == shown


def test_clips_are_forgotten_after_a_while_unless_in_use(tmp_path):
    video = write_video(tmp_path / "v.mp4", n_frames=36)
    folder = tmp_path / "kept"
    folder.mkdir()
    clips, clip = receive(folder, video.read_bytes(), keep_s=1.0)
    clip.used_at = time.monotonic() - 2.0
    clip.users = 1
    clips.forget_old()
    assert len(clips) == 1
    clip.users = 0
    clips.forget_old()
    assert len(clips) == 0 and list(folder.iterdir()) == []
