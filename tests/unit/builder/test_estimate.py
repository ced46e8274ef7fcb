"""What a build will come to."""

from dataclasses import replace

import pytest

from dancetomusic.builder.estimate import estimate
from dancetomusic.builder.settings import BuildSettings
from dancetomusic.builder.sources import Section

LINK = Section("https://example.org/v", 10.0, 20.0)


def test_ten_thousand_clips():
    found = estimate([LINK] * 5000, BuildSettings(), workers=1)
    assert found.clips == 10_000 and found.unknown == 0
    assert found.hours == pytest.approx(13.9, abs=0.1)
    assert 3 < found.disk_gb < 8
    assert 4 < found.work_hours < 8
    two = estimate([LINK] * 5000, BuildSettings(), workers=2)
    assert two.work_hours == pytest.approx(found.work_hours / 2)
    encodec = estimate([LINK] * 5000, BuildSettings(codec="facebook/encodec_24khz"), workers=1)
    assert 1 < encodec.work_hours - found.work_hours < 2


def test_what_only_the_site_knows_is_counted_apart(demo_dir, tmp_path):
    text = tmp_path / "text.mp4"
    text.write_text("no video")
    video = Section("v", path=str(demo_dir / "steps_128bpm.mp4"))
    sections = [
        replace(LINK, end_s=None),
        replace(LINK, end_s=14.0),  # too short for a clip
        Section("text.mp4", path=str(text)),
        video,
        replace(video, end_s=6.0),
    ]
    found = estimate(sections, BuildSettings(), workers=1)
    whole = estimate([video], BuildSettings(), workers=1)
    assert (found.unknown, found.clips) == (1, whole.clips + 1)
