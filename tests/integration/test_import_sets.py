"""Sets that are not made of videos, made for real: files, codec, stems, manifest."""

from __future__ import annotations

import csv
import shutil

import mido
import numpy as np
import pytest
import soundfile

from building_tools.import_tang2018 import LICENCE, import_tang2018
from building_tools.synthesize_dataset import SynthesisConfig, render_videos, synthesize
from dancetomusic.builder.settings import BuildSettings
from dancetomusic.codec.registry import load_codec
from dancetomusic.data.clip import clip_directories, load_clip, source_id, split_of
from dancetomusic.errors import ConfigError, InputError
from dancetomusic.io.audio import read_audio
from dancetomusic.io.video import probe_video
from dancetomusic.rhythm.files import load_beats
from dancetomusic.stems.hpss import HpssSeparator
from dancetomusic.stems.none import NoSeparator
from dancetomusic.synthesis.choreography import choreograph
from dancetomusic.synthesis.groove import SOUND_FONT

needs_fluidsynth = pytest.mark.skipif(
    shutil.which("fluidsynth") is None or not SOUND_FONT.is_file(),
    reason="fluidsynth or its sound font is not installed",
)
SETTINGS = BuildSettings(max_seq_len=2.0)


@pytest.fixture(scope="module")
def codec():
    return load_codec()


@pytest.fixture
def dances(tmp_path):
    """Two dances of 5 s in the layout of Tang et al., with clicks on their beats."""
    folder = tmp_path / "dances"
    (folder / "motion").mkdir(parents=True)
    (folder / "audio").mkdir()
    rows = ["id,genre,split,sync_quality,bpm,snap"]
    for name, genre, split, style in (
        ("A_1", "waltz", "train", "waltz"),
        ("B_1", "tango", "val", "steps"),
    ):
        rows.append(f"{name},{genre},{split},A,120,downbeat")
        dance = choreograph(style, 120, 5.0, seed=1, fps=30, first_beat_s=0.25)
        np.savez(
            folder / "motion" / f"{name}.npz",
            mp33=dance.world,
            mp_fps=30.0,
            beat_times=dance.beat_times,
            cau=np.array(["W-1"]),
            cau_beat=np.array([0.0]),
            cau_beats=np.array([2.0]),
        )
        samples = np.zeros(5 * 48_000)
        for time in dance.beat_times:
            samples[round(time * 48_000) :][:2400] = 0.5 * np.sin(np.arange(2400) / 40)
        soundfile.write(
            folder / "audio" / f"{name}.opus", samples, 48_000, format="OGG", subtype="OPUS"
        )
    (folder / "index.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture
def grooves(tmp_path):
    """One rock beat in the layout of the Groove MIDI Dataset."""
    folder = tmp_path / "groove"
    folder.mkdir()
    track = mido.MidiTrack()
    for beat in range(20):
        note = 36 if beat % 2 == 0 else 38
        track.append(mido.Message("note_on", channel=9, note=note, velocity=100, time=0))
        track.append(mido.Message("note_off", channel=9, note=note, velocity=0, time=480))
    midi = mido.MidiFile(ticks_per_beat=480, tracks=[track])
    midi.save(folder / "rock.mid")
    with (folder / "info.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["drummer", "style", "bpm", "beat_type", "time_signature", "midi_filename"])
        writer.writerow(["drummer1", "rock", "120", "beat", "4-4", "rock.mid"])
    return folder


def contents(root):
    return {
        str(file.relative_to(root)): file.read_bytes()
        for file in sorted(root.rglob("*"))
        if file.is_file() and file.name != ".lock"
    }


@pytest.mark.slow
def test_dances_become_clips_with_their_annotated_beats(dances, tmp_path, codec):
    root = tmp_path / "set"
    manifest = import_tang2018(dances, root, SETTINGS, separator=HpssSeparator(), codec=codec)
    assert manifest.n_clips == 4
    assert manifest.counts() == {"train": {"accepted": 2}, "val": {"accepted": 2}}
    second = list(manifest.records())[1]
    assert (second.source, second.start_s, second.end_s) == ("tang2018/A_1", 2.0, 4.0)
    assert second.licence == LICENCE
    assert second.beats_from == "annotated"
    assert second.separator == "hpss"
    assert second.codec == codec.identity
    for directory in clip_directories(root):
        clip = load_clip(directory, verify=True)
        assert len(clip.poses) == clip.record.n_frames == 48
        assert clip.poses.fps == 24.0
        assert clip.mix.samples.shape == clip.stem.samples.shape == (1, 48_000)
        assert clip.codes.codes.shape == (2, 150)
        np.testing.assert_allclose(clip.rhythm.beat_times % 0.5, 0.25, atol=1e-3)
        numbers = np.rint((clip.rhythm.beat_times + clip.record.start_s - 0.25) / 0.5)
        bar = 3 if "A_1" in clip.record.source else 4
        np.testing.assert_array_equal(clip.rhythm.beat_numbers, numbers.astype(int) % bar + 1)
        loud = np.abs(clip.mix.samples[0]).reshape(200, 240).max(axis=1) > 0.2
        onsets = np.flatnonzero(loud & ~np.roll(loud, 1)) / 100
        np.testing.assert_allclose(onsets, clip.rhythm.beat_times, atol=0.03)
        np.testing.assert_allclose(
            clip.poses.world.mean(), _pose_mean(dances, clip.record), atol=1e-3
        )


def _pose_mean(dances, record):
    with np.load(dances / "motion" / f"{record.source.split('/')[1]}.npz") as arrays:
        world = arrays["mp33"]
    first = round(record.start_s * 30)
    return world[first : first + 60].mean()


@pytest.mark.slow
def test_an_import_goes_on_where_it_stopped_with_the_same_bytes(dances, tmp_path, codec):
    def make(root, on_clip=lambda record: None):
        import_tang2018(
            dances, root, SETTINGS, separator=NoSeparator(), codec=codec, on_clip=on_clip
        )

    def stop(record):
        raise KeyboardInterrupt

    make(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path / "stopped", stop)
    new = []
    make(tmp_path / "stopped", new.append)
    assert len(new) == 3
    assert contents(tmp_path / "stopped") == contents(tmp_path / "whole")
    make(tmp_path / "stopped", new.append)
    assert len(new) == 3


@pytest.mark.slow
def test_a_set_is_not_mixed_of_separators(dances, tmp_path, codec):
    root = tmp_path / "set"
    import_tang2018(dances, root, SETTINGS, separator=NoSeparator(), codec=codec)
    with pytest.raises(ConfigError, match="separator none, not hpss"):
        import_tang2018(dances, root, SETTINGS, separator=HpssSeparator(), codec=codec)


def test_dances_without_music_are_an_error(dances, tmp_path, codec):
    (dances / "audio" / "A_1.opus").unlink()
    with pytest.raises(InputError, match=r"A_1\.opus"):
        import_tang2018(dances, tmp_path / "set", SETTINGS, separator=NoSeparator(), codec=codec)


@pytest.mark.slow
@needs_fluidsynth
def test_made_up_dances_have_music_on_their_beats(grooves, tmp_path, codec):
    config = SynthesisConfig(n_dancers=2, seconds=4.0, seed=3)
    root = tmp_path / "set"
    manifest = synthesize(grooves, root, config, SETTINGS, codec=codec)
    assert manifest.n_clips == 4
    for record in manifest.records():
        clip = load_clip(root / "clips" / record.key[:2] / record.key, verify=True)
        assert record.status == "accepted", record.reason
        assert record.split == split_of(source_id(record.source))
        assert record.bpm == pytest.approx(float(record.source.split("-")[3][:-3]), rel=0.01)
        beats = np.rint(clip.rhythm.beat_times * 24_000).astype(int)
        power = np.convolve(clip.stem.samples[0] ** 2, np.ones(240), mode="full")
        after = np.mean([power[at : at + 1500].max() for at in beats if at < 46_000])
        before = np.mean([power[max(at - 480, 0) : at + 1].min() for at in beats])
        assert after > 4 * before
    synthesize(grooves, tmp_path / "again", config, SETTINGS, codec=codec)
    assert contents(root) == contents(tmp_path / "again")


@pytest.mark.slow
@needs_fluidsynth
def test_more_dancers_leave_the_first_ones_as_they_are(grooves, tmp_path, codec):
    root, new = tmp_path / "set", []
    synthesize(grooves, root, SynthesisConfig(n_dancers=1, seconds=2.0), SETTINGS, codec=codec)
    synthesize(
        grooves,
        root,
        SynthesisConfig(n_dancers=2, seconds=2.0),
        SETTINGS,
        codec=codec,
        on_clip=new.append,
    )
    assert [record.source.split("-")[1] for record in new] == ["00001"]


@pytest.mark.slow
@needs_fluidsynth
def test_made_up_dances_are_rendered_as_videos(grooves, tmp_path):
    pytest.importorskip("pyvista")
    config = SynthesisConfig(n_dancers=1, seconds=1.0, video_height=320)
    (video,) = render_videos(grooves, tmp_path / "videos", config)
    info = probe_video(video)
    assert info.duration_s == pytest.approx(1.0, abs=0.05)
    assert (info.width, info.height) == (240, 320)
    sound = read_audio(video)
    assert sound is not None
    assert np.abs(sound.samples).max() > 0.1
    track = load_beats(video.with_suffix(".beats.csv"), 1.0)
    assert track.bpm == pytest.approx(float(video.stem.split("-")[3][:-3]), rel=0.01)
    made = video.stat().st_mtime_ns
    assert [path.stat().st_mtime_ns for path in render_videos(grooves, video.parent, config)] == [
        made
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        {"n_dancers": 0},
        {"seconds": 0.5},
        {"min_bpm": 20.0},
        {"max_bpm": 70.0},
        {"seed": -1},
        {"video_height": 90},
    ],
)
def test_impossible_dances_are_refused(wrong):
    with pytest.raises(ConfigError):
        SynthesisConfig(**wrong)


def test_dances_shorter_than_a_clip_are_refused(tmp_path, codec):
    with pytest.raises(ConfigError, match="shorter than clips"):
        synthesize(tmp_path, tmp_path, SynthesisConfig(seconds=1.0), SETTINGS, codec=codec)
