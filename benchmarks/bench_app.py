"""The web server under load: many uploads and several cameras at a time.

Starts a server, sends it ``--uploads`` short dances at once while ``--cameras`` cameras are played
to, and tells what became of each: none may be lost, those asked to wait must be told how long, and
memory must not grow with their number.
"""

from __future__ import annotations

import argparse
import json
import os
import struct
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np

CAMERA_FPS = 24.0
PROGRAM = """
from dancetomusic.app.server import serve
serve("127.0.0.1", 0, on_ready=lambda url: print(url, flush=True))
"""


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--video", default="data/demo/steps_128bpm.mp4", help="for the cameras")
    parser.add_argument("--uploads", type=int, default=20)
    parser.add_argument("--cameras", type=int, default=4)
    parser.add_argument("--camera_s", type=float, default=60.0)
    arguments = parser.parse_args()
    pictures = read_jpegs(Path(arguments.video))
    with tempfile.TemporaryDirectory() as folder:
        dance = short_dance(Path(folder))
    process = subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    address = process.stdout.readline().strip().rstrip("/")
    memory = MemoryWatch(process.pid)
    try:
        with ThreadPoolExecutor(arguments.uploads + arguments.cameras) as pool:
            cameras = [
                pool.submit(play_to_camera, address, pictures, arguments.camera_s)
                for _ in range(arguments.cameras)
            ]
            uploads = [pool.submit(upload, address, dance) for _ in range(arguments.uploads)]
            outcome = {
                "cameras": [camera.result() for camera in cameras],
                "uploads": summary([upload.result() for upload in uploads]),
                "server_mb": memory.stop(),
            }
    finally:
        process.terminate()
        process.wait(30)
    print(json.dumps(outcome, indent=1))


def upload(address: str, dance: bytes) -> dict[str, Any]:
    """One visitor who uploads, waits when told to, and listens to the result."""
    began, told_to_wait = time.monotonic(), 0
    with httpx.Client(base_url=address, timeout=600) as client:
        client.get("/")
        clip = client.post("/api/clips", content=dance)
        clip.raise_for_status()
        while True:
            answer = client.post(f"/api/clips/{clip.json()['id']}/takes", json={})
            if answer.status_code != 429:
                break
            told_to_wait += 1
            time.sleep(float(answer.headers["Retry-After"]))
        answer.raise_for_status()
        state: dict[str, Any] = {}
        with client.stream("GET", f"/api/jobs/{answer.json()['job']}") as events:
            for line in events.iter_lines():
                if line.startswith("data: "):
                    state = json.loads(line.removeprefix("data: "))
        sound = client.get(f"/api/takes/{state['result']['take']}/sound").content
    seconds = time.monotonic() - began
    return {"bytes": len(sound), "waits": told_to_wait, "s": seconds, "state": state["state"]}


def summary(uploads: list[dict[str, Any]]) -> dict[str, Any]:
    """What became of all uploads."""
    seconds = [upload["s"] for upload in uploads]
    return {
        "sent": len(uploads),
        "done": sum(upload["state"] == "done" and upload["bytes"] > 44 for upload in uploads),
        "times_told_to_wait": sum(upload["waits"] for upload in uploads),
        "seconds_median": round(float(np.median(seconds)), 1),
        "seconds_longest": round(max(seconds), 1),
    }


def play_to_camera(address: str, pictures: list[bytes], duration_s: float) -> dict[str, Any]:
    """One camera: what it sent, and what sound came back."""
    from websockets.sync.client import connect
    from websockets.typing import Origin

    with httpx.Client(base_url=address) as client:
        client.get("/")
        cookie = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
    sound: list[bytes] = []
    status: dict[str, Any] = {}
    with connect(
        address.replace("http", "ws") + "/api/live",
        origin=Origin(address),
        additional_headers={"Cookie": cookie},
        open_timeout=120,
    ) as socket:
        json.loads(socket.recv(timeout=120))
        began = time.monotonic()

        def send() -> None:
            for k in range(int(duration_s * CAMERA_FPS)):
                time.sleep(max(0.0, began + k / CAMERA_FPS - time.monotonic()))
                socket.send(struct.pack("<d", k / CAMERA_FPS) + pictures[k % len(pictures)])

        sender = threading.Thread(target=send)
        sender.start()
        while time.monotonic() < began + duration_s:
            message = socket.recv(timeout=10)
            if isinstance(message, bytes):
                sound.append(message)
            else:
                status = json.loads(message)
        sender.join()
    samples = np.frombuffer(b"".join(sound), "<i2") / 32768
    return {
        "sound_s": round(samples.size / 24_000, 1),
        "of_s": duration_s,
        "rms": round(float(np.sqrt(np.mean(samples**2))), 4),
        "bpm": status.get("bpm"),
        "frames_in": status.get("frames_in"),
        "frames_dropped": status.get("frames_dropped"),
        "underruns": status.get("underruns"),
    }


class MemoryWatch:
    """Resident memory of a process and its children, once a second."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._seen: list[float] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def _watch(self) -> None:
        while not self._over.wait(1.0):
            self._seen.append(sum(resident_mb(pid) for pid in family(self._pid)))

    def stop(self) -> dict[str, float]:
        """The largest sum, and the last."""
        self._over.set()
        self._thread.join()
        return {"peak": round(max(self._seen)), "last": round(self._seen[-1])}


def family(pid: int) -> list[int]:
    """A process and its children."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(int(child) for child in children)]


def resident_mb(pid: int) -> float:
    """Resident memory of one process, in MB; 0 when it is gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def read_jpegs(video: Path) -> list[bytes]:
    """The pictures of a video as a page sends them."""
    import cv2

    from dancetomusic.io.video import read_frames

    frames = read_frames(video, CAMERA_FPS, max_side=256)
    return [
        cv2.imencode(".jpg", np.ascontiguousarray(frame[..., ::-1]))[1].tobytes()
        for frame in frames
    ]


def short_dance(folder: Path) -> bytes:
    """Three seconds at 120 BPM."""
    from dancetomusic.synthesis.choreography import choreograph
    from dancetomusic.synthesis.demo import render_dances

    render_dances(folder / "d.mp4", [choreograph("bounce", 120.0, 3.0, 1)], width=240, height=320)
    return (folder / "d.mp4").read_bytes()


if __name__ == "__main__":
    main()
