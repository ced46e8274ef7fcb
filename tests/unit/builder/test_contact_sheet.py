"""The page about a set of clips: complete, self-contained, harmless."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
import soundfile

from dancetomusic.builder.contact_sheet import NEAR, write_contact_sheet
from dancetomusic.data.clip import (
    ACCEPTED,
    FAILED,
    MIX_FILE,
    PICTURES_FILE,
    POSES_FILE,
    RECORD_FILE,
    REFUSED,
    ClipQuality,
    ClipRecord,
    clip_directory,
    clip_key,
    record_to_bytes,
    source_id,
)
from dancetomusic.errors import InputError, OutputError
from dancetomusic.pose.files import save_poses
from dancetomusic.types import PoseSequence

FINE = ClipQuality(
    detected_share=0.99,
    mean_visibility=0.9,
    weakest_visibility=0.8,
    motion_m_s=0.7,
    range_m=0.6,
    loudness_dbfs=-20.0,
    beat_certainty=0.9,
)
HOSTILE = (
    'javascript:alert("1")',
    '<script>alert(1)</script>"><img src=x onerror=alert(2)>',
    "https://example.org/\"onmouseover='alert(3)'",
    "http://[broken",
    "data:text/html,<b>x</b>",
    "../../etc/passwd\n\x00\u202egpj.exe",
)


class Page(HTMLParser):
    """Every element of a page; complains where tags are not closed in order."""

    VOID = ("meta", "input", "link", "br", "img")

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.text = [], [], ""
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def all(self, tag, **wanted):
        return [
            a
            for t, a in self.elements
            if t == tag and all(a.get(k.rstrip("_")) == v for k, v in wanted.items())
        ]


def add_clip(root, source, *, files=True, **changes):
    values = {"key": clip_key(source, 0.0, 2.0), "source_id": source_id(source)}
    record = ClipRecord(
        source=source, start_s=0.0, end_s=2.0, **({"quality": FINE} | values | changes)
    )
    directory = clip_directory(root, record.key)
    directory.mkdir(parents=True)
    (directory / RECORD_FILE).write_bytes(record_to_bytes(record))
    if files:
        rng = np.random.default_rng(0)
        walk = np.cumsum(rng.normal(0, 0.01, (48, 33, 3)), axis=0) + rng.normal(0, 0.4, (33, 3))
        present = np.ones(48, bool)
        present[:5] = False
        visibility = np.ones((48, 33), np.float32)
        save_poses(
            directory / POSES_FILE,
            PoseSequence(walk.astype(np.float32), present, visibility, 24.0),
        )
        soundfile.write(directory / MIX_FILE, rng.normal(0, 0.1, 48_000), 24_000, format="FLAC")
        (directory / "stem.flac").write_bytes((directory / MIX_FILE).read_bytes())
        (directory / "beats.csv").write_text("time_s,beat\n0.2,1\n0.7,2\n1.2,3\n1.7,4\n")
    return record.key


def read(path):
    text = path.read_text(encoding="utf-8")
    return text, Page(text)


def test_a_clip_is_shown_with_all_that_is_known(tmp_path):
    key = add_clip(tmp_path, "https://example.org/watch?v=1&t=2", bpm=120.0, separator="hpss")
    text, page = read(write_contact_sheet(tmp_path))
    assert page.all("article", class_="clip accepted")
    links = page.all("a")
    assert links == [{"href": "https://example.org/watch?v=1&t=2", "rel": "noopener noreferrer"}]
    for word in (key, "hpss", "120.0 BPM, 4/bar (tracked)", "train", "99%", "-20.0"):
        assert word in page.text
    labels = [a.get("aria-label", "") for a in page.all("svg")]
    for begin in ("The dancer at", "Speed", "Outline of the mix", "Outline of the stem, with"):
        assert any(label.startswith(begin) for label in labels)
    assert len(page.all("line", class_="bar")) == 1
    assert len(page.all("line", class_="beat")) == 3
    assert "absent" in page.text
    assert 'class="bad"' not in text


def test_pictures_take_the_place_of_skeletons(tmp_path):
    directory = clip_directory(tmp_path, add_clip(tmp_path, "a"))
    (directory / PICTURES_FILE).write_bytes(b"\xff\xd8\xff")
    _, page = read(write_contact_sheet(tmp_path))
    (picture,) = page.all("img")
    assert picture["src"] == "data:image/jpeg;base64,/9j/" and picture["alt"]
    assert not page.all("svg", class_="skeletons")


def test_hostile_sources_stay_text_and_nothing_is_loaded(tmp_path):
    for source in HOSTILE:
        add_clip(tmp_path, source, files=False, licence=source, reason=source, status=REFUSED)
    text, page = read(write_contact_sheet(tmp_path))
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "img", "link", "iframe", "object", "form", "base"}
    for _, attributes in page.elements:
        assert not any(name.startswith("on") or name == "src" for name in attributes)
    assert all(re.match("https?://", a["href"]) for a in page.all("a"))
    assert len(page.all("a")) == 1
    assert "default-src 'none'" in page.all("meta", **{"http-equiv": "Content-Security-Policy"})[0][
        "content"
    ].replace("\n", "")
    assert not re.search(r"url\(|@import", text)
    assert not re.search("[\x00\u202e]", text)


def test_failed_then_refused_then_accepted_nearest_to_a_limit_first(tmp_path):
    fine = add_clip(tmp_path, "fine", files=False)
    near = add_clip(
        tmp_path, "near", files=False, quality=replace(FINE, detected_share=0.8 + NEAR / 2)
    )
    refused = add_clip(
        tmp_path,
        "refused",
        files=False,
        status=REFUSED,
        reason="changes of dancer or camera 3, above 0",
        quality=replace(FINE, n_swaps=3),
    )
    failed = add_clip(tmp_path, "failed", files=False, status=FAILED, reason="timeout 3")
    _, page = read(write_contact_sheet(tmp_path))
    assert [a["aria-labelledby"] for a in page.all("article")] == [
        f"k{key}" for key in (failed, refused, near, fine)
    ]
    assert len(page.all("div", class_="bad")) == 1
    assert len(page.all("div", class_="near")) == 1
    assert "changes of dancer or camera" in page.text
    assert "no usable poses" in page.text
    assert "no mix" in page.text


@pytest.mark.parametrize(("limit", "bad", "good"), [(4, 2, 2), (1, 0, 1), (8, 3, 5), (100, 3, 7)])
def test_the_limit_is_shared_and_everything_counted(tmp_path, limit, bad, good):
    for k in range(10):
        add_clip(tmp_path, str(k), files=False, status=REFUSED if k < 3 else ACCEPTED)
    _, page = read(write_contact_sheet(tmp_path, limit=limit))
    assert len(page.all("article", class_="clip refused")) == bad
    assert len(page.all("article", class_="clip accepted")) == good
    assert "10 clips" in page.text


def test_damaged_files_and_records_do_not_stop_it(tmp_path):
    key = add_clip(tmp_path, "a")
    directory = clip_directory(tmp_path, key)
    for name in (POSES_FILE, MIX_FILE, "beats.csv"):
        (directory / name).write_bytes(b"damaged")
    other = clip_directory(tmp_path, add_clip(tmp_path, "b", files=False))
    (other / RECORD_FILE).write_text("{")
    _, page = read(write_contact_sheet(tmp_path, tmp_path / "other.html"))
    assert len(page.all("article")) == 1
    assert "1 records cannot be read" in page.text


def test_the_same_set_gives_the_same_page(tmp_path):
    for name in "abc":
        add_clip(tmp_path, name)
    first = write_contact_sheet(tmp_path).read_bytes()
    assert write_contact_sheet(tmp_path).read_bytes() == first


def test_the_manifest_says_what_repeats_another(tmp_path):
    pytest.importorskip("pyarrow")
    from dancetomusic.data.manifest import write_manifest

    a, b = (add_clip(tmp_path, name, files=False) for name in "ab")
    write_manifest(tmp_path, overrides={b: {"status": REFUSED, "reason": f"repeats clip {a}"}})
    _, page = read(write_contact_sheet(tmp_path))
    assert len(page.all("article", class_="clip refused")) == 1
    assert f"repeats clip {a}" in page.text


def test_bad_calls_are_refused(tmp_path):
    with pytest.raises(InputError, match="no clips"):
        write_contact_sheet(tmp_path)
    add_clip(tmp_path, "a", files=False)
    with pytest.raises(InputError, match="0 clips"):
        write_contact_sheet(tmp_path, limit=0)
    with pytest.raises(OutputError):
        write_contact_sheet(tmp_path, tmp_path / "nowhere" / "page.html")
