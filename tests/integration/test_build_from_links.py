"""From a list of links to a training run: downloads over loopback, then the whole chain."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dancetomusic.data.clip import source_id
from dancetomusic.data.manifest import open_manifest
from tests.dance_factory import small_copy
from tests.http_faults import FaultyServer, reset, status

OPTIONS = ("--max_seq_len", "3", "--separator", "hpss", "--workers", "2")
QUICK = ("--download", "backoff_s=0.1", "--download", "retries=2")


def run(*arguments: object, cache: Path) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
    return subprocess.run(
        [sys.executable, "-m", "dancetomusic.cli", "build", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=600,
        env=environment | {"XDG_CACHE_HOME": str(cache)},
    )


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory, demo_dir: Path) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("videos")
    return {
        name: small_copy(demo_dir / f"{clip}.mp4", folder / f"{name}.mp4")
        for name, clip in (("steps", "steps_128bpm"), ("bounce", "bounce_104bpm"))
    }


@pytest.mark.slow
def test_links_become_clips_whatever_the_server_does(
    tmp_path: Path, videos: dict[str, Path]
) -> None:
    with FaultyServer() as server:
        first = server.serve("/a/video.mp4", videos["steps"], faults=[status(503), reset()])
        second = server.serve("/b/video.mp4", videos["bounce"], faults=[None, reset(20_000)])
        hostile = server.serve("/..;$(touch x)'踊.mp4", videos["bounce"], ranges=False)
        gone = server.url("/removed.mp4")
        busy = server.serve("/busy.mp4", always=status(503))
        links = tmp_path / "links.csv"
        links.write_text(
            f"\ufeff{first},0,00:03\r\n{first},00:00:03,6\r\n{second},,\r\n"
            f"{hostile},3,6\r\n{gone},0,3\r\n{busy},0,3\r\n",
            encoding="utf-8",
        )
        output = tmp_path / "set"
        arguments = ("--input_csv", links, "--output_path", output, *OPTIONS, *QUICK)
        result = run(*arguments, cache=tmp_path / "cache")
        assert result.returncode == 0, result.stderr
        records = list(open_manifest(output).records())
        by_source = {url: [r for r in records if r.source == url] for url in (first, second)}
        assert [(r.start_s, r.end_s) for r in by_source[first]] == [(0.0, 3.0), (3.0, 6.0)]
        assert [(r.start_s, r.end_s) for r in by_source[second]] == [(0.0, 3.0), (3.0, 6.0)]
        assert {r.status for r in by_source[first]} == {"accepted"}
        same = [by_source[second][1], *(r for r in records if r.source == hostile)]
        assert len(same) == 2  # one part of one video, behind two addresses
        (kept,) = [r for r in same if r.status == "accepted"]
        (repeated,) = [r for r in same if r.reason == f"repeats clip {kept.key}"]
        assert repeated.status == "refused"
        assert {r.reason.split()[0] for r in records if r.source in (gone, busy)} == {"cannot"}
        assert {r.source_id for r in records} == {source_id(r.source) for r in records}
        assert not (tmp_path / "x").exists() and not (output / ".work").exists()

        # A second run asks again for what may have passed, and for nothing else.
        server.requests.clear()
        server.serve("/busy.mp4", videos["steps"])
        again = run(*arguments, cache=tmp_path / "cache")
        assert again.returncode == 0, again.stderr
        assert {request.path for request in server.requests} == {"/busy.mp4"}
        statuses = {r.source: r.status for r in open_manifest(output).records()}
        assert statuses[gone] == "failed" and statuses[busy] in ("accepted", "refused")
