from __future__ import annotations

from pathlib import Path

from dancetomusic.app.beats import MAX_BPM
from dancetomusic.app.guard import MAX_BODY_BYTES, MIN_TOKEN_LENGTH
from dancetomusic.app.limits import Limits


def test_the_page_of_limits_says_what_holds(repository: Path):
    text = (repository / "docs" / "app.md").read_text()
    limits = Limits()
    for said in (
        f"| size of a video | {limits.upload_bytes // 2**20} MiB |",
        f"| length | {limits.duration_s:.0f} s,",
        "| picture | 4096 × 2304 pixels |",
        f"| silence while sending | {limits.idle_s:.0f} s |",
        f"| jobs in the queue | {limits.waiting_jobs} behind",
        f"| kept on disk | {limits.stored_bytes // 2**30} GiB in all, an hour each |",
        f"| cameras | {limits.live_sessions}, one a visitor |",
        f"at least {MIN_TOKEN_LENGTH} characters",
        f"| other requests | {MAX_BODY_BYTES // 2**10} KiB |",
        f"20 to {MAX_BPM} BPM",
    ):
        assert said in text, said
    assert limits.pixels == 4096 * 2304 and limits.keep_s == 3600 and limits.absent_s == 5
