import hashlib
import json
import math
import os
import pickle
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from dancetomusic.data import clip as clip_module
from dancetomusic.data.clip import (
    CLIP_FILES,
    NEEDED_FILES,
    clip_directories,
    clip_directory,
    clip_key,
    load_clip,
    publish_clip,
    read_record,
    record_to_bytes,
    source_id,
    split_of,
    write_record,
)
from dancetomusic.errors import InputError, OutputError
from dancetomusic.rhythm.energy import movement_energy
from tests.clip_factory import add_clip, fill_clip, make_record

VIDEO = "https://www.youtube.com/watch?v=0mCcMJC6sys"


@pytest.mark.parametrize(
    "address",
    [
        "https://youtu.be/0mCcMJC6sys",
        "http://youtu.be/0mCcMJC6sys?t=4",
        "https://youtube.com/watch?t=4&v=0mCcMJC6sys",
        "https://m.youtube.com/watch?v=0mCcMJC6sys&list=PL1",
        "https://www.youtube.com/shorts/0mCcMJC6sys",
        "https://www.youtube-nocookie.com/embed/0mCcMJC6sys?start=4",
        " https://WWW.YOUTUBE.com/watch?v=0mCcMJC6sys#x ",
    ],
)
def test_one_video_has_one_id(address):
    assert source_id(address) == source_id(VIDEO)
    assert clip_key(address, 0.0, 5.0) == clip_key(VIDEO, 0.0, 5.0)


@pytest.mark.parametrize(
    "source",
    [
        "https://www.youtube.com/watch?v=0mCcMJC6syS",
        "https://www.youtube.com/watch?v=../../0mCcMJ",
        "https://evil.org/watch?v=0mCcMJC6sys",
        "youtu.be/0mCcMJC6sys",
        "file:///youtu.be/0mCcMJC6sys",
        "http://[broken",
        "ダンス/夜.mp4",
        "not \udcff text",
        "",
    ],
)
def test_other_sources_stand_for_themselves(source):
    assert source_id(source) != source_id(VIDEO)
    assert len(source_id(source)) == 16 and int(source_id(source), 16) >= 0


def test_keys_tell_places_and_addresses_apart():
    keys = {
        clip_key(source, start, start + 5.0)
        for source in ("http://a.org/video.mp4", "http://b.org/video.mp4", "video.mp4")
        for start in (0.0, 0.001, 1.0, 11.0)
    }
    assert len(keys) == 12 and all(len(key) == 20 for key in keys)
    assert clip_key("a", 0.1 + 0.2, 5.0) == clip_key("a", 0.3, 5.0)
    with pytest.raises(InputError, match="nan"):
        clip_key("a", 0.0, math.nan)


def test_ids_and_keys_never_change():
    assert source_id(VIDEO) == hashlib.sha256(VIDEO.encode()).hexdigest()[:16]
    text = f"{VIDEO}\n4000\n9000"
    assert clip_key(VIDEO, 4.0, 9.0) == hashlib.sha256(text.encode()).hexdigest()[:20]


def test_splits_have_their_shares():
    ids = [source_id(str(number)) for number in range(4000)]
    splits = [split_of(i, val_share=0.15, test_share=0.1) for i in ids]
    assert splits.count("val") / 4000 == pytest.approx(0.15, abs=0.02)
    assert splits.count("test") / 4000 == pytest.approx(0.1, abs=0.02)
    assert {split_of(i, val_share=0.0) for i in ids} == {"train"}
    assert {split_of(i, val_share=1.0) for i in ids} == {"val"}
    assert {split_of(i, val_share=0.0, test_share=1.0) for i in ids} == {"test"}
    for shares in ((-0.1, 0.0), (0.6, 0.5), (math.nan, 0.0)):
        with pytest.raises(InputError):
            split_of(ids[0], val_share=shares[0], test_share=shares[1])


def test_what_is_written_is_read(tmp_path):
    record = fill_clip(tmp_path, make_record("dances/夜 \u2028;'\".mp4", bpm=math.nan))
    read = read_record(tmp_path)
    assert math.isnan(read.bpm)
    assert replace(read, bpm=0.0) == replace(record, bpm=0.0)
    assert read_record((tmp_path / "clip.json").read_bytes()).key == record.key
    assert set(record.files) == set(CLIP_FILES)
    for name, digest in record.files.items():
        assert hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() == digest
    values = json.loads((tmp_path / "clip.json").read_text(encoding="utf-8"))
    assert values["bpm"] is None and list(values) == sorted(values)


def test_records_are_the_same_bytes_wherever_they_are_written(tmp_path):
    for name in ("a", "b"):
        fill_clip(tmp_path / name, make_record("x"))
    for name in ("clip.json", *CLIP_FILES):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert not {p.name for p in (tmp_path / "a").iterdir()} - {"clip.json", *CLIP_FILES}


def test_a_refused_clip_lists_what_was_made_and_says_why_on_one_line(tmp_path):
    (tmp_path / "mix.flac").write_bytes(b"sound")
    record = write_record(tmp_path, make_record("x", status="refused", reason="no\n dancer\t"))
    assert record.reason == "no dancer" and list(record.files) == ["mix.flac"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schema_version": 1}, "schema version 1"),
        ({"schema_version": None}, "schema version None"),
        ({"key": "../../../../etc/pass"}, "key is"),
        ({"source_id": "0F" * 8}, "source_id is"),
        ({"status": "fine"}, "status is"),
        ({"split": "training"}, "split is"),
        ({"fps": 0.0}, "fps is"),
        ({"fps": True}, "fps is"),
        ({"fps": "24"}, "fps is"),
        ({"fps": None}, "fps is"),
        ({"fps": 10**400}, "fps is"),
        ({"n_frames": -1}, "n_frames is"),
        ({"n_frames": 10**30}, "n_frames is"),
        ({"n_frames": 1.5}, "n_frames is"),
        ({"bpm": -3.0}, "bpm is"),
        ({"start_s": -1.0}, "start_s is"),
        ({"start_s": 9.0, "end_s": 4.0}, "before its start"),
        ({"source": 3}, "source is"),
        ({"source": "\ud800"}, "source is"),
        ({"files": {"../x": "0" * 64}}, "files is"),
        ({"files": {"mix.flac": "0"}}, "files is"),
        ({"files": None}, "files is"),
        ({"quality": {}}, "ClipQuality"),
        ({"quality": 1}, "ClipQuality"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_odd_records_are_refused(tmp_path, change, words):
    fill_clip(tmp_path, make_record("x"))
    file = tmp_path / "clip.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(InputError, match=words) as caught:
        read_record(tmp_path)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"3", b"\xff\xfe", b'{"schema_version": NaN}', b"[" * 100_000, b"{}"],
)
def test_what_is_no_record_is_refused(content):
    with pytest.raises(InputError, match="clip.json"):
        read_record(content)


def test_a_missing_record_is_named(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        read_record(tmp_path)


def test_values_out_of_range_are_never_written(tmp_path):
    with pytest.raises(InputError, match="split is"):
        write_record(tmp_path, make_record("x", split="dev"))
    assert not list(tmp_path.iterdir())


def test_a_clip_comes_with_poses_codes_rhythm_and_sounds(tmp_path):
    record = fill_clip(tmp_path, make_record("x"))
    clip = load_clip(tmp_path, verify=True)
    assert clip.record == record
    assert len(clip.poses) == 24 and clip.poses.present.sum() == 23
    assert clip.poses.image is not None and clip.poses.quality is not None
    assert clip.codes.codes.shape == (4, 75) and clip.codes.codes.dtype == np.int16
    assert (clip.codes.codec_id, clip.codes.duration_s) == (record.codec, 1.0)
    np.testing.assert_array_equal(clip.rhythm.beat_times, [0.25, 0.75])
    np.testing.assert_array_equal(clip.rhythm.energy, movement_energy(clip.poses))
    assert clip.rhythm.duration_s == 1.0
    for sound, name in ((clip.mix, "mix.flac"), (clip.stem, "stem.flac")):
        samples, rate = soundfile.read(tmp_path / name, dtype="float32")
        np.testing.assert_array_equal(sound.samples[0], samples)
        assert sound.sample_rate == rate
    assert clip.stem is clip.stem


def test_a_clip_is_read_from_the_contents_of_its_files(tmp_path):
    fill_clip(tmp_path, make_record("x"))
    contents = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    clip, other = load_clip(contents, verify=True), load_clip(str(tmp_path))
    np.testing.assert_array_equal(clip.poses.world, other.poses.world)
    np.testing.assert_array_equal(clip.mix.samples, other.mix.samples)
    again = pickle.loads(pickle.dumps(clip))
    np.testing.assert_array_equal(again.stem.samples, other.stem.samples)
    del contents["codes.npy"]
    with pytest.raises(InputError, match="no codes.npy"):
        load_clip(contents)


def test_a_stem_without_beats_has_an_empty_rhythm(tmp_path):
    fill_clip(tmp_path, make_record("x", bpm=math.nan))
    (tmp_path / "beats.csv").write_text("time_s,beat,source,certainty\n")
    rhythm = load_clip(tmp_path).rhythm
    assert rhythm.beat_times.size == 0 and math.isnan(rhythm.bpm)


@pytest.mark.parametrize("name", CLIP_FILES)
def test_a_changed_file_is_named(tmp_path, name):
    fill_clip(tmp_path, make_record("x"))
    file = tmp_path / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(InputError, match=f"{name} is not what"):
        load_clip(tmp_path, verify=True)
    file.unlink()
    with pytest.raises(InputError, match=f"cannot read .*{name}"):
        load_clip(tmp_path, verify=True)


@pytest.mark.parametrize("name", NEEDED_FILES)
@pytest.mark.parametrize("content", [b"", b"nonsense", b"PK\x03\x04", b"\x93NUMPY\x01\x00"])
def test_a_damaged_file_is_named_without_verifying(tmp_path, name, content):
    fill_clip(tmp_path, make_record("x"))
    (tmp_path / name).write_bytes(content)

    def use():
        clip = load_clip(tmp_path)
        return clip.mix, clip.stem

    with pytest.raises(InputError, match=f"{name} is damaged") as caught:
        use()
    assert "\n" not in str(caught.value)


def test_arrays_of_another_form_are_refused(tmp_path):
    fill_clip(tmp_path, make_record("x"))
    good = (tmp_path / "codes.npy").read_bytes()
    for codes in (
        np.zeros((4, 75), np.int64),
        np.zeros(75, np.int16),
        np.full((4, 75), -1, np.int16),
        np.zeros((4, 0), np.int16),
    ):
        np.save(tmp_path / "codes.npy", codes)
        with pytest.raises(InputError, match=r"codes\.npy is damaged"):
            load_clip(tmp_path)
    for old, new in ((b"(4, 75), }", b"(4, 75   }"), (b"(4, 75), }      ", b"(4, 10**9999), }")):
        (tmp_path / "codes.npy").write_bytes(good.replace(old, new))
        with pytest.raises(InputError, match=r"codes\.npy is damaged"):
            load_clip(tmp_path)
    (tmp_path / "codes.npy").write_bytes(
        good.replace(b"(4, 75), }            ", b"(4, 99999999999999), }")
    )
    with pytest.raises(InputError, match=r"codes\.npy is damaged"):
        load_clip(tmp_path)
    (tmp_path / "codes.npy").write_bytes(good)
    fill_clip(tmp_path, make_record("x"))
    write_record(tmp_path, make_record("x", n_frames=23))
    with pytest.raises(InputError, match=r"poses\.npz is damaged \(poses is float32"):
        load_clip(tmp_path)
    write_record(tmp_path, make_record("x", sample_rate=22_050))
    with pytest.raises(InputError, match="24000 Hz, 22050 on record"):
        _ = load_clip(tmp_path).mix


def test_publishing_moves_the_clip_and_nothing_else(tmp_path):
    root = tmp_path / "set"
    work = root / ".work" / "anything"
    record = fill_clip(work, make_record("x"))
    (work / "cut.mp4").write_bytes(b"leftover")
    (work / "temporary").mkdir()
    place = publish_clip(work, root)
    assert place == clip_directory(root, record.key) == root / "clips" / record.key[:2] / record.key
    assert {p.name for p in place.iterdir()} == {"clip.json", *CLIP_FILES}
    assert list((root / ".work").iterdir()) == []
    assert list(clip_directories(root)) == [place]
    load_clip(place, verify=True)


def test_publishing_again_keeps_a_good_clip_and_mends_a_bad_one(tmp_path):
    record = add_clip(tmp_path, "x")
    place = clip_directory(tmp_path, record.key)
    inode = place.stat().st_ino
    add_clip(tmp_path, "x")
    assert place.stat().st_ino == inode
    (place / "mix.flac").write_bytes(b"rot")
    add_clip(tmp_path, "x")
    load_clip(place, verify=True)
    assert not list((tmp_path / ".work").iterdir())


def test_an_accepted_clip_replaces_a_failed_one_and_back(tmp_path):
    for status in ("failed", "accepted", "refused"):
        record = add_clip(tmp_path, "x", status=status, reason="" if status == "accepted" else "r")
        assert read_record(clip_directory(tmp_path, record.key)).status == status
    assert [p.name for p in clip_directory(tmp_path, record.key).iterdir()] == ["clip.json"]
    assert not list((tmp_path / ".work").iterdir())


@pytest.mark.parametrize("renames", [0, 1])
def test_a_replacement_that_is_cut_off_goes_on(tmp_path, monkeypatch, renames):
    record = add_clip(tmp_path, "x", status="failed", reason="network")
    work = tmp_path / ".work" / record.key
    fill_clip(work, make_record("x"))
    done = 0
    rename = os.rename

    def killed(*arguments):
        nonlocal done
        if done == renames:
            raise KeyboardInterrupt
        done += 1
        rename(*arguments)

    monkeypatch.setattr(clip_module.os, "rename", killed)
    with pytest.raises(KeyboardInterrupt):
        publish_clip(work, tmp_path)
    monkeypatch.undo()
    place = clip_directory(tmp_path, record.key)
    assert place.exists() == (renames == 0)
    assert publish_clip(work, tmp_path) == place
    assert load_clip(place, verify=True).record.status == "accepted"
    assert not list((tmp_path / ".work").iterdir())


def test_half_a_clip_is_not_published(tmp_path):
    work = tmp_path / "work"
    record = fill_clip(work, make_record("x"))
    (work / "codes.npy").unlink()
    with pytest.raises(InputError, match=r"codes\.npy"):
        publish_clip(work, tmp_path)
    write_record(work, record)
    with pytest.raises(InputError, match=r"accepted without codes\.npy"):
        publish_clip(work, tmp_path)
    assert not clip_directory(tmp_path, record.key).exists()
    with pytest.raises(InputError, match=r"clip\.json"):
        publish_clip(tmp_path / "absent", tmp_path)


def test_a_set_that_cannot_be_written_is_reported(tmp_path):
    work = tmp_path / "work"
    fill_clip(work, make_record("x"))
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "clips").write_text("a file in the way")
    with pytest.raises(OutputError, match="cannot publish"):
        publish_clip(work, tmp_path / "set")
    assert load_clip(work, verify=True)


def test_only_clips_are_found(tmp_path):
    record = add_clip(tmp_path, "x")
    (tmp_path / "clips" / "notes").mkdir()
    (tmp_path / "clips" / record.key[:2] / ".hidden").mkdir()
    assert [p.name for p in clip_directories(tmp_path)] == [record.key]
    assert list(clip_directories(tmp_path / "absent")) == []


def test_bytes_of_a_record_end_a_line_and_hold_no_nan():
    content = record_to_bytes(make_record("x", bpm=math.nan))
    assert content.endswith(b"}\n") and b"NaN" not in content
