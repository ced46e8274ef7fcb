"""The server as it runs: uploads, hostile ones too, music, cancelling, and what stays behind."""

from __future__ import annotations

import gzip
import io
import json
import socket
import struct
import time
import zipfile
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import av
import httpx
import numpy as np
import pytest
import soundfile

from dancetomusic.io.loudness import integrated_loudness
from dancetomusic.io.mux import mux
from dancetomusic.io.video import probe_video
from dancetomusic.rhythm.beats import steady_grid
from dancetomusic.rhythm.click import click_track
from dancetomusic.score.midi import read_midi
from dancetomusic.synthesis.choreography import choreograph
from dancetomusic.synthesis.demo import render_dances
from dancetomusic.types import Waveform
from tests.app_server import (
    claim_hours,
    follow,
    get_file,
    make_take,
    new_client,
    read_rhythm,
    running_server,
    send_video,
)
from tests.video_factory import write_video

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running_server(tmp_path_factory.mktemp("server")) as (address, _):
        yield address


@pytest.fixture
def client(server):
    with new_client(server) as visitor:
        yield visitor


@pytest.fixture(scope="module")
def dance(tmp_path_factory) -> bytes:
    """Four seconds at 120 BPM."""
    path = tmp_path_factory.mktemp("dance") / "dance.mp4"
    render_dances(path, [choreograph("bounce", 120.0, 4.0, 4)], width=240, height=320)
    return path.read_bytes()


def test_a_video_becomes_music_that_can_be_fetched(client, dance, tmp_path):
    clip = send_video(client, dance).json()
    assert clip["duration_s"] == pytest.approx(4.0, abs=0.1) and not clip["has_audio"]

    take = make_take(client, clip["id"], seed=5)
    assert take["state"] == "done", take
    result = take["result"]
    assert len(result["energy"]) == pytest.approx(40, abs=2) and result["dancers"] == 1
    sound, rate = soundfile.read(
        io.BytesIO(client.get(f"/api/takes/{result['take']}/sound").content)
    )
    assert len(sound) / rate == pytest.approx(4.0, abs=0.1)
    assert np.sqrt(np.mean(sound**2)) > 0.01
    skeleton = client.get(f"/api/takes/{result['take']}/skeleton").content
    assert len(skeleton) == result["dancers"] * result["frames"] * 33 * 2 * 2

    again = make_take(client, clip["id"], seed=5, bpm=100.0)["result"]
    assert again["bpm"] == pytest.approx(100.0, abs=0.5)
    # Poses are kept from the analysis: finding them would take longer than the rest.
    for timings in (result["timings"], again["timings"]):
        assert timings["poses"] < 0.2 * sum(timings.values())

    made = get_file(client, result["take"], format="mp4", mix=0.5, name="../my dance")
    assert made.headers["Content-Disposition"] == "attachment; filename*=utf-8''my%20dance.mp4"
    (tmp_path / "made.mp4").write_bytes(made.content)
    info = probe_video(tmp_path / "made.mp4")
    assert info.has_audio and info.duration_s == pytest.approx(4.0, abs=0.1)
    (tmp_path / "sent.mp4").write_bytes(dance)
    assert coded_pictures(tmp_path / "made.mp4") == coded_pictures(tmp_path / "sent.mp4")

    assert client.delete(f"/api/clips/{clip['id']}").status_code == 204
    assert client.get(f"/api/takes/{result['take']}/sound").status_code == 404


def coded_pictures(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(video=0) if packet.size]


def read_sound(content: bytes) -> np.ndarray:
    samples, rate = soundfile.read(io.BytesIO(content), always_2d=True)
    assert rate == 44_100 and samples.shape[1] == 2
    return samples


def test_the_tracks_of_a_score_are_mixed_and_taken_along(client, dance, tmp_path):
    clip = send_video(client, dance).json()["id"]
    wish = {"seed": 1, "style": "house", "key": "E minor", "energy": 0.5}
    take = make_take(client, clip, **wish)["result"]
    assert take["tracks"] == ["drums", "bass", "chords", "lead"]
    assert take["style"] == "house" and take["key"] == "E minor"
    assert take["wish"].items() >= wish.items()
    name = take["take"]

    # What the page plays is the sound, track by track, from one sample on.
    sound = read_sound(client.get(f"/api/takes/{name}/sound").content)
    answers = [client.get(f"/api/takes/{name}/stems/{number}") for number in range(4)]
    assert all("immutable" in answer.headers["Cache-Control"] for answer in answers)
    stems = [read_sound(answer.content) for answer in answers]
    assert np.abs(take["stem_gain"] * sum(stems) - sound).max() < 5 / 2**15
    assert client.get(f"/api/takes/{name}/stems/4").status_code == 404

    drawn = client.get(f"/api/takes/{name}/score").json()
    assert [track["name"] for track in drawn["tracks"]] == take["tracks"]
    drums = np.array(drawn["tracks"][0]["notes"])
    assert drums[:, 0].min() >= 0 and drums[:, 0].max() < 4.1 and (drums[:, 1] > drums[:, 0]).all()
    assert drawn["sections"][0][1] == 0 and drawn["sections"][-1][2] == pytest.approx(4.0, abs=0.1)
    assert all(0 <= time < 4.1 and 0 < strength <= 1 for time, strength in drawn["hits"])

    as_made = read_sound(get_file(client, name, format="wav").content)
    assert np.array_equal(as_made, sound)
    silent = read_sound(
        get_file(client, name, format="wav", levels=dict.fromkeys(take["tracks"], 0)).content
    )
    assert not silent.any() and silent.shape == sound.shape
    levels = {"drums": 0, "chords": 0, "lead": 0}
    bass = read_sound(get_file(client, name, format="wav", levels=levels).content)
    alike = np.corrcoef(bass.ravel(), stems[1].ravel())[0, 1]
    others = [np.corrcoef(bass.ravel(), stems[k].ravel())[0, 1] for k in (0, 2, 3)]
    assert alike > 0.9 > 0.4 > max(np.abs(others))
    loudness = integrated_loudness(Waveform(bass.T.astype(np.float32), 44_100))
    assert loudness == pytest.approx(-14, abs=0.5)

    archive = zipfile.ZipFile(io.BytesIO(get_file(client, name, format="zip").content))
    assert archive.namelist() == [*(f"{track}.wav" for track in take["tracks"]), "score.mid"]
    kept = [read_sound(archive.read(f"{track}.wav")) for track in take["tracks"]]
    assert {stem.shape for stem in kept} == {sound.shape}
    assert np.corrcoef(sum(kept).ravel(), sound.ravel())[0, 1] > 0.9
    (tmp_path / "notes.mid").write_bytes(get_file(client, name, format="mid").content)
    notes = read_midi(tmp_path / "notes.mid")
    assert [track.name for track in notes.tracks] == take["tracks"]

    for wrong in ({"levels": {"tuba": 1}}, {"levels": {"bass": 3}}, {"levels": {"bass": "x"}}):
        answer = client.post(f"/api/takes/{name}/files", json={"format": "wav", **wrong})
        assert answer.status_code == 422, wrong
    key = make_take(client, clip, key="H minor")
    assert key["state"] == "failed" and "H minor" in key["problem"]


def test_a_page_can_come_back_to_its_video(client, server, dance):
    clip = send_video(client, dance, "my dance.mp4").json()["id"]
    fresh = client.get(f"/api/clips/{clip}").json()
    assert (fresh["name"], fresh["analysis"], fresh["takes"], fresh["jobs"]) == (
        "my dance.mp4", None, [], []
    )  # fmt: skip
    video = client.get(f"/api/clips/{clip}/video", headers={"Range": "bytes=10-19"})
    assert video.status_code == 206 and video.content == dance[10:20]
    assert video.headers["Content-Type"] == "video/mp4"

    analysis = read_rhythm(client, clip)["result"]
    take = make_take(client, clip, seed=9)["result"]
    with new_client(server) as another_tab:
        known = another_tab.get(f"/api/clips/{clip}").json()
    assert known["analysis"] == analysis and known["takes"] == [take]

    # Its job can be found and cancelled, and says so where it stands in the way.
    job = client.post(f"/api/clips/{clip}/takes", json={}).json()["job"]
    assert client.get(f"/api/clips/{clip}").json()["jobs"] == [{"job": job, "work": "take"}]
    refused = client.post(f"/api/clips/{clip}/takes", json={})
    assert refused.status_code == 429 and refused.json()["job"] == job
    assert client.head(f"/api/jobs/{job}").status_code == 200
    assert client.delete(f"/api/jobs/{job}").status_code == 204
    assert follow(client, job)["state"] == "cancelled"
    known = client.get(f"/api/clips/{clip}").json()
    assert known["jobs"] == [] and len(known["takes"]) == 1


def test_an_upload_that_breaks_off_leaves_one_line(tmp_path, dance, capfd):
    with running_server(tmp_path) as (address, _):
        with socket.create_connection(httpx.URL(address).netloc.decode().split(":")) as line:
            head = f"POST /api/clips HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(dance)}"
            line.sendall(head.encode() + b"\r\n\r\n" + dance[:5000])
            time.sleep(1.0)
        time.sleep(1.0)
        with new_client(address) as client:
            assert client.get("/health").json() == {"ok": True}
        said = capfd.readouterr().err
    assert said.count("\n") == 1 and "broke off after 5000 bytes" in said
    assert not list(tmp_path.glob("*/*/source"))


def test_the_beat_is_read_chosen_and_given(client, dance):
    clip = send_video(client, dance).json()["id"]
    assert client.get(f"/api/clips/{clip}/skeleton").status_code == 404
    state = read_rhythm(client, clip)
    assert state["state"] == "done", state
    told = state["result"]
    assert told["beats_from"] == "auto" and told["dancers_wanted"] == told["dancers"] == 1
    assert told["readings"] and told["loudness"] == []
    skeleton = client.get(f"/api/clips/{clip}/skeleton").content
    assert len(skeleton) == told["frames"] * 33 * 2 * 2
    for reading in told["readings"]:
        assert reading["source"] == "movement"
        assert reading["verdict"] in ("sure", "fair", "guess")
        assert np.diff([time for time, _ in reading["beats"]]).min() > 0.15

    for index, reading in enumerate(told["readings"]):
        result = make_take(client, clip, reading=index)["result"]
        assert result["beats"] == reading["beats"]
        assert (result["source"], result["certainty"]) == ("movement", reading["certainty"])
        assert result["timings"]["poses"] < 1.0
    none = make_take(client, clip, reading=20)
    assert none["state"] == "failed" and "no reading 20" in none["problem"]

    beats = [[round(0.15 + 0.61 * k, 4), k % 3 + 1] for k in range(7)]
    result = make_take(client, clip, beats=beats)["result"]
    assert result["beats"] == beats and result["beats_per_bar"] == 3
    assert result["source"] == "file" and result["verdict"] == "sure"
    assert np.std(result["energy"]) > 0  # that of the movement

    silent = read_rhythm(client, clip, beats_from="sound")
    assert silent["state"] == "failed" and "no sound" in silent["problem"]
    assert "movement" in silent["remedy"] and "--" not in silent["remedy"]
    assert "/" not in silent["problem"]


def test_the_beat_of_the_sound_is_taken_where_there_is_one(client, dance, tmp_path):
    (tmp_path / "dance.mp4").write_bytes(dance)
    duration_s = 4.0
    drums = click_track(steady_grid(100.0, duration_s, first_beat_s=0.2), 24_000)
    mux(tmp_path / "dance.mp4", drums, tmp_path / "heard.mp4")
    clip = send_video(client, (tmp_path / "heard.mp4").read_bytes()).json()["id"]
    told = read_rhythm(client, clip)["result"]
    assert max(told["loudness"]) == 100
    assert len(told["loudness"]) == pytest.approx(duration_s * told["loudness_rate"], abs=20)
    heard = read_rhythm(client, clip, beats_from="sound")["result"]["readings"]
    assert {reading["source"] for reading in heard} == {"sound"}
    moved = read_rhythm(client, clip, beats_from="movement")["result"]["readings"]
    assert {reading["source"] for reading in moved} == {"movement"}
    take = make_take(client, clip, beats_from="sound")["result"]
    assert take["source"] == "sound" and take["beats"] == heard[0]["beats"]


def test_a_video_without_a_dancer_says_so(client, tmp_path):
    video = write_video(tmp_path / "v.mp4", n_frames=48)
    clip = send_video(client, video.read_bytes()).json()
    state = make_take(client, clip["id"])
    assert state["state"] == "failed"
    assert "no person was found" in state["problem"] and state["remedy"]
    assert "/" not in state["problem"]


def test_a_job_ends_when_its_page_goes(tmp_path, dance):
    with (
        running_server(tmp_path, limits={"absent_s": 0.5}) as (address, _),
        new_client(address) as client,
    ):
        clip = send_video(client, dance).json()["id"]
        job = client.post(f"/api/clips/{clip}/takes", json={}).json()["job"]
        with client.stream("GET", f"/api/jobs/{job}") as events:
            next(events.iter_lines())
            busy = client.post(f"/api/clips/{clip}/takes", json={})
            assert busy.status_code == 429 and int(busy.headers["Retry-After"]) >= 1
        time.sleep(2.0)
        assert follow(client, job)["state"] == "cancelled"
        assert make_take(client, clip)["state"] == "done"


def test_nothing_is_left_behind(tmp_path, dance):
    with running_server(tmp_path) as (address, process):
        with new_client(address) as client:
            send_video(client, dance)
        (folder,) = tmp_path.glob("dancetomusic-app-*")
        assert [file.name for file in folder.rglob("*") if file.is_file()] == ["source"]
        process.terminate()
        process.wait(20)
    assert not folder.exists()


def test_files_go_after_their_time(tmp_path, dance):
    with (
        running_server(tmp_path, limits={"keep_s": 1.0}) as (address, _),
        new_client(address) as client,
    ):
        clip = send_video(client, dance).json()["id"]
        deadline = time.monotonic() + 40
        while list(tmp_path.glob("*/*/source")) and time.monotonic() < deadline:
            time.sleep(1.0)
        assert not list(tmp_path.glob("*/*"))
        assert client.post(f"/api/clips/{clip}/takes", json={}).status_code == 404


def hostile_files(folder: Path) -> dict[str, bytes]:
    """What no server should fall for; every one must be refused."""
    rng = np.random.default_rng(0)
    good = write_video(folder / "good.mp4", n_frames=36).read_bytes()
    matroska = write_video(folder / "good.mkv", n_frames=36).read_bytes()
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as bomb:
        for k in range(4):
            bomb.writestr(f"{k}.mp4", bytes(8 * 2**20))
    sound = io.BytesIO()
    soundfile.write(sound, np.zeros(48_000), 48_000, format="WAV")
    box = struct.pack(">I4s", 24, b"ftyp") + b"isom\x00\x00\x02\x00isommp41"
    ebml = b"\x1aE\xdf\xa3"
    moov = good.index(b"moov") - 4
    huge = write_video(folder / "huge.avi", n_frames=3, fps=2, codec="mpeg4", size=(4608, 2592))
    damaged = bytearray(good)
    damaged[moov : moov + 400] = rng.bytes(400)
    return {
        "empty": b"",
        "one byte": b"\x00",
        "zip bomb": archive.getvalue(),
        "gzip bomb": gzip.compress(bytes(16 * 2**20)),
        "zip bomb behind a video's first bytes": box + archive.getvalue(),
        "gzip bomb behind a video's first bytes": box + gzip.compress(bytes(16 * 2**20)),
        "eight hours by its header": claim_hours(folder / "lie.mkv", 8.0),
        "eight hours by its slow clock": claim_hours(folder / "lie.mp4", 8.0),
        "text": b"just a text\n" * 100,
        "web page": b"<!doctype html><script>alert(1)</script>",
        "playlist of other files": b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
        "concat script": b"ffconcat version 1.0\nfile /etc/passwd\n",
        "playlist behind a video's first bytes": box + b"#EXTM3U\nfile:///etc/passwd\n",
        "sound": sound.getvalue(),
        "PNG": b"\x89PNG\r\n\x1a\n" + rng.bytes(2000),
        "JPEG": b"\xff\xd8\xff\xe0" + rng.bytes(2000),
        "GIF": b"GIF89a" + rng.bytes(2000),
        "ELF": b"\x7fELF" + rng.bytes(2000),
        "script": b"#!/bin/sh\nrm -rf /\n",
        "pickle": b"\x80\x04\x95" + rng.bytes(200),
        "noise": rng.bytes(20_000),
        "noise behind a video's first bytes": box + rng.bytes(20_000),
        "only a first box": box,
        "box larger than the file": struct.pack(">I4s", 2**31, b"ftyp") + rng.bytes(500),
        "box of size 0": bytes(4) + b"moov" + rng.bytes(500),
        "boxes in boxes": b"".join(struct.pack(">I4s", 2**20, b"moov") for _ in range(5000)),
        "no index": good[: good.index(b"moov") - 4] if moov > 100 else box,
        "damaged index": bytes(damaged),
        "first tenth": good[: len(good) // 10],
        "huge pictures": huge.read_bytes(),
        "Matroska, its start": matroska[:60],
        "Matroska, noise": ebml + rng.bytes(20_000),
        "Matroska, endless element": ebml + b"\x01" + b"\xff" * 200,
        "AVI, noise": b"RIFF\xff\xff\xff\xffAVI LIST" + rng.bytes(5000),
        "transport stream, noise": (b"G" + rng.bytes(187)) * 50,
        "too short a video": write_video(folder / "short.mp4", n_frames=6).read_bytes(),
        "zeros": bytes(100_000),
    }


def test_hostile_files_are_refused_and_the_server_lives(client, tmp_path):
    files = hostile_files(tmp_path)
    assert len(files) >= 30
    outcomes = {}
    for name, content in files.items():
        answer = send_video(client, content)
        told = answer.json()
        outcomes[name] = answer.status_code
        assert 400 <= answer.status_code < 500, (name, answer.status_code, told)
        assert told["problem"] and told["remedy"], name
        assert str(tmp_path.parent) not in told["problem"] and "/source" not in told["problem"]
    print(json.dumps(outcomes, indent=1))
    assert client.get("/health").json() == {"ok": True}


PATH_LIKE = (
    "..",
    "../../etc/passwd",
    "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "/etc/passwd",
    "..%5c..%5cboot.ini",
    "x%00.mp4",
    "~root",
    "con",
    "a" * 4000,
    "$(id)",
    "-rf",
)


def ask_as_written(server: str, method: str, path: str) -> tuple[int, bytes]:
    """Status and content of a request whose path no client library has tidied up."""
    connection = HTTPConnection(httpx.URL(server).netloc.decode())
    with closing(connection):
        connection.request(method, path, "{}", {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read()


def test_names_that_look_like_paths_lead_nowhere(client, server):
    for name in PATH_LIKE:
        for path in (
            f"/static/{name}",
            f"/api/clips/{name}/takes",
            f"/api/clips/{name}/skeleton",
            f"/api/takes/{name}/sound",
            f"/api/files/{name}",
            f"/api/jobs/{name}",
        ):
            method = "POST" if path.endswith("takes") else "GET"
            status, content = ask_as_written(server, method, path)
            assert 400 <= status < 500, (path, status)
            assert b"root:" not in content
    named = client.post(
        "/api/clips?name=../../../etc/passwd",
        content=b"x" * 500,
        headers={"Content-Disposition": 'attachment; filename="../../etc/passwd"'},
    )
    assert named.status_code == 415
    form = client.post("/api/clips", files={"file": ("../../x.mp4", b"x" * 500)})
    assert form.status_code == 415


def test_wishes_out_of_range_are_refused(client, tmp_path):
    video = write_video(tmp_path / "v.mp4", n_frames=36)
    clip = send_video(client, video.read_bytes()).json()["id"]
    for wish in (
        {"seed": -1},
        {"seed": 2**40},
        {"temperature": 9},
        {"cfg_scale": 0},
        {"bpm": 10},
        {"dancers": 0},
        {"dancers": 99},
        {"colour": "red"},
        {"reading": -1},
        {"reading": 99},
        {"beats_from": "stars"},
        {"beats": "1 2 3"},
        {"beats": []},
        {"beats": [[0.5, 1]]},
        {"beats": [[0.5, 1], [0.5, 2]]},
        {"beats": [[0.5, 1], [0.2, 2]]},
        {"beats": [[0.5, 1], [0.51, 2]]},
        {"beats": [[-0.5, 1], [0.2, 2]]},
        {"beats": [[0.5, 1], [1000, 2]]},
        {"beats": [[0.5, 1], [1.0, 99]]},
        {"beats": [[0.5, 1], [1.0, 1.5]]},
        {"beats": [[0.5, 1], [None, 2]]},
        {"beats": [[0.5, 1], [1.0, 2]], "bpm": 120},
        {"beats": [[k / 1000, 1] for k in range(3000)]},
        {"seed": "x"},
        [],
    ):
        answer = client.post(f"/api/clips/{clip}/takes", json=wish)
        assert answer.status_code == 422, wish
        assert answer.json()["problem"] and answer.json()["remedy"]
    for wish in ({"beats_from": "stars"}, {"dancers": 9}, {"beats": [[0.5, 1], [1.0, 2]]}, []):
        assert client.post(f"/api/clips/{clip}/rhythm", json=wish).status_code == 422, wish
    large = client.post(f"/api/clips/{clip}/takes", json={"beats": [[0.5, 1]] * 20_000})
    assert large.status_code == 413 and large.json()["remedy"]
    many = b'{"beats": [[NaN, 1], [Infinity, 2]]}'
    for body in (b"", b"{", b'{"temperature": NaN}', b"\xff" * 10, many):
        answer = client.post(
            f"/api/clips/{clip}/takes", content=body, headers={"Content-Type": "application/json"}
        )
        assert answer.status_code in (400, 422), body
