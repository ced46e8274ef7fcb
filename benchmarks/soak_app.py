"""The web server for hours, as repeated jobs: its memory must not grow.

    python -m benchmarks.soak_app --jobs 200

One visitor after another uploads a short dance, has a take made and its file, fetches both and
leaves. Prints resident memory of the server and its worker after ``--settled`` jobs and after all;
exits 1 where it grew by more than ``GROWTH`` in between.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from benchmarks.bench_app import PROGRAM, family, resident_mb, short_dance

GROWTH = 0.05
REST_S = 1.0


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--settled", type=int, default=20, help="jobs before memory is compared")
    parser.add_argument("--every", type=int, default=20, help="jobs between two measurements")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        dance = short_dance(Path(folder))
    process = subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    address = process.stdout.readline().strip().rstrip("/")
    seen: dict[int, list[float]] = {}
    began_s = time.monotonic()
    try:
        for number in range(1, arguments.jobs + 1):
            visit(address, dance, number)
            if number % arguments.every == 0 or number in (arguments.settled, arguments.jobs):
                time.sleep(REST_S)
                seen[number] = [round(resident_mb(pid), 1) for pid in family(process.pid)]
                print(f"{number} jobs: {seen[number]} MB", file=sys.stderr, flush=True)
    finally:
        process.terminate()
        process.wait(30)
    before, after = sum(seen[arguments.settled]), sum(seen[arguments.jobs])
    figures = {
        "jobs": arguments.jobs,
        "minutes": round((time.monotonic() - began_s) / 60, 1),
        "mb_by_jobs": {number: round(sum(parts)) for number, parts in seen.items()},
        "growth_percent": round(100 * (after / before - 1), 1),
    }
    print(json.dumps(figures, indent=1))
    sys.exit(after > (1 + GROWTH) * before)


def visit(address: str, dance: bytes, seed: int) -> None:
    """One visitor."""
    with httpx.Client(base_url=address, timeout=600) as client:
        client.get("/").raise_for_status()
        clip = client.post("/api/clips", content=dance).raise_for_status().json()["id"]
        take = run(client, f"/api/clips/{clip}/takes", {"seed": seed})["take"]
        wish = {"format": ("wav", "mp4", "zip", "mid")[seed % 4]}
        file = run(client, f"/api/takes/{take}/files", wish)["url"]
        for path in (f"/api/takes/{take}/sound", f"/{file}"):
            client.get(path).raise_for_status()
        client.delete(f"/api/clips/{clip}").raise_for_status()


def run(client: httpx.Client, path: str, wish: Mapping[str, object]) -> dict[str, str]:
    """The result of a job."""
    job = client.post(path, json=wish).raise_for_status().json()["job"]
    state: dict[str, Any] = {}
    with client.stream("GET", f"/api/jobs/{job}") as events:
        for line in events.iter_lines():
            if line.startswith("data: "):
                state = json.loads(line.removeprefix("data: "))
    if state["state"] != "done":
        sys.exit(f"a job ended as {state}")
    result: dict[str, str] = state["result"]
    return result


if __name__ == "__main__":
    main()
