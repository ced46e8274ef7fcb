import numpy as np
import pytest

pytest.importorskip("mir_eval")

from dancetomusic.errors import InputError
from dancetomusic.evaluation.baselines import metronome_times
from dancetomusic.evaluation.tasks.rhythm.beatless_sounds import DURATION_S, beatless_sounds
from dancetomusic.evaluation.tasks.rhythm.estimators import (
    BASELINES,
    HALF_BEAT,
    MEAN_TEMPO,
    METRONOME,
    TRUE_TEMPO,
    Estimate,
    baseline_beats,
)
from dancetomusic.evaluation.tasks.rhythm.page import headline, render_rhythm_page
from dancetomusic.evaluation.tasks.rhythm.set import (
    RhythmClip,
    RhythmSet,
    load_rhythm_set,
    read_beat_file,
)
from dancetomusic.evaluation.tasks.rhythm.task import (
    by_style,
    calibrate,
    count_refusals,
    evaluate_rhythm,
    group_cell,
    score_row,
    summarise_row,
)
from tests.rhythm_factory import SCORED, SECONDS, write_clips


def clip(name, bpm=120.0, *, group=None, style="", scored=True, has_pulse=True, offsets=1):
    beats = metronome_times(bpm, 12.0)
    return RhythmClip(
        name=name,
        group=group or name,
        style=style,
        duration_s=12.0,
        references=tuple(
            metronome_times(bpm, 12.0, k / 20) if offsets > 1 else beats for k in range(offsets)
        ),
        bpm=bpm,
        bar_times=beats,
        bar_places=np.arange(beats.size) % 4 + 1,
        scored=scored,
        has_pulse=has_pulse,
    )


def exact(clip, certainty=0.9, shift=0.0):
    return Estimate(
        clip.beat_times + shift, np.arange(clip.beat_times.size) % 4 + 1, certainty=certainty
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    write_clips(folder)
    return folder


def test_groups_count_alike_and_clips_in_them_are_averaged_first():
    clips = [clip("a", group="x"), clip("b", group="x"), clip("c")]
    results = score_row("r", [(c, exact(c, shift=0.25 * (c.name == "c"))) for c in clips])
    cell = group_cell(results, "f")
    assert (cell.mean, cell.dances) == (0.5, 2)
    summary = summarise_row(results)
    assert summary.over_clips == pytest.approx(2 / 3)
    assert (summary.clips, summary.certainty) == (3, pytest.approx(0.9))


def test_every_baseline_is_what_it_says():
    clips = [clip("a", 120.0, style="s"), clip("b", 90.0, style="s"), clip("c", 150.0, style="t")]
    rng = np.random.default_rng(0)
    beats = {row: baseline_beats(row, clips[0], clips, rng) for row in BASELINES}
    tempi = {row: 60 / np.median(np.diff(beats[row])) for row in BASELINES}
    assert tempi[METRONOME] == tempi[TRUE_TEMPO] == pytest.approx(120)
    assert tempi[MEAN_TEMPO] == pytest.approx(90)  # of the style, its own group left out
    np.testing.assert_allclose(beats[HALF_BEAT], clips[0].beat_times + 0.25)
    lonely = baseline_beats(MEAN_TEMPO, clips[2], clips, rng)
    assert 60 / np.median(np.diff(lonely)) == pytest.approx(105)


def test_a_constant_offset_is_left_free_for_each_style_alone():
    clips = [clip(name, style=name[0], offsets=20) for name in ("a1", "a2", "b1")]
    shifts = {"a1": 0.1, "a2": 0.1, "b1": 0.4}
    results = score_row("r", [(c, exact(c, shift=shifts[c.name])) for c in clips])
    assert [result.scores.f > 0.95 for result in results] == [True] * 3
    assert np.isnan(results[0].scores.offset_ms)
    apart = score_row("r", [(c, exact(c, shift=0.2 * (c.name == "a2"))) for c in clips])
    assert sum(result.scores.f > 0.95 for result in apart) == 2


def test_clips_without_phase_are_scored_for_tempo_alone():
    silent = clip("a", offsets=20)
    silent = RhythmClip(**{**vars(silent), "references": (np.zeros(0),) * 20})
    (result,) = score_row("r", [(silent, Estimate(metronome_times(60.0, 12.0)))])
    assert np.isnan(result.scores.f)
    assert (result.scores.tempo, result.scores.tempo_octave) == (0.0, 1.0)


def test_certainty_is_held_against_what_is_right():
    clips = [clip(f"c{k}") for k in range(10)]
    pairs = [
        (c, exact(c, certainty=0.9 if k < 5 else 0.2, shift=0.0 if k < 4 else 0.25))
        for k, c in enumerate(clips)
    ]
    calibration = calibrate(score_row("r", pairs))
    assert calibration is not None
    assert (calibration.sure, calibration.scored) == (5, 10)
    assert calibration.sure_right == pytest.approx(0.8)
    assert [part.right for part in calibration.curve] == [0, 0, 0.5, 1, 0.5]
    unstated = score_row("r", [(c, Estimate(c.beat_times)) for c in clips])
    assert calibrate(unstated) is None


def test_refusals_are_counted_on_clips_without_a_pulse():
    clips = [clip("a"), clip("b"), clip("p", scored=False, has_pulse=False)]
    clips.append(clip("q", scored=False, has_pulse=False))
    says = {"a": 0.9, "b": 0.3, "p": 0.1, "q": 0.95}
    findings = evaluate_rhythm(
        RhythmSet(tuple(clips), "note"), {"own": lambda c: exact(c, certainty=says[c.name])}
    )
    refusals = count_refusals(findings, "own")
    assert refusals is not None
    assert (refusals.beatless, refusals.scored) == (2, 2)
    assert (refusals.refused, refusals.beatless_sure, refusals.scored_refused) == (0.5, 0.5, 0.5)


@pytest.mark.slow
def test_the_page_has_every_row_and_no_nan(tmp_path):
    clips = [clip("a", style="s"), clip("b", 90.0, style="t"), clip("c", 150.0, scored=False)]
    findings = evaluate_rhythm(
        RhythmSet(tuple(clips), "what must be said"),
        {"sound": exact, "none": lambda c: None},
        sound_tracker=lambda sound, seconds: Estimate(np.zeros(0), certainty=0.0),
        windowed=["sound"],
        beats_output=tmp_path,
        written="sound",
    )
    page = render_rhythm_page(findings, {"data": "made up"})
    for row in ("**sound**", *BASELINES):
        assert f"\n| {row} |" in page
    assert "nan" not in page and "what must be said" in page
    assert "where it says ≥ 0.8, F ≥ 0.9 in 100 % (2 of 2 clips)" in page
    assert "| silence | 1 | 0 | 0.00 |" in page
    lines = headline(findings)
    assert len(lines) == 1 + len(BASELINES) + 3
    assert lines[-2].startswith("sounds without a beat that are called sure: 0 of")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.csv", "b.csv", "c.csv"]
    times, places = read_beat_file(tmp_path / "a.csv")
    np.testing.assert_allclose(times, clips[0].beat_times)
    assert places.max() == 4


def test_styles_name_the_largest_and_all_but_it():
    clips = [clip(name, style=name[0]) for name in ("a1", "a2", "b1", "c1")]
    table = by_style(score_row("r", [(c, exact(c)) for c in clips]))
    sizes = {style: len(own) for style, own in table.items()}
    assert sizes == {"a": 2, "all but a": 2, "b": 1, "c": 1}
    many = (
        clips + [clip(f"{letter}0", style=letter) for letter in "defgh"] + [clip("b2", style="b")]
    )
    table = by_style(score_row("r", [(c, exact(c)) for c in many]))
    assert list(table) == ["a", "all but a", "b", "styles of one clip"]
    assert by_style(score_row("r", [(clips[0], exact(clips[0]))])) == {}


def test_clips_are_read_and_cut(folder):
    rhythm_set = load_rhythm_set(folder)
    assert [c.name for c in rhythm_set.clips if c.scored] == list(SCORED)
    assert [c.has_pulse for c in rhythm_set.clips] == [True] * 4 + [False]
    one = rhythm_set.clips[0]
    windows = one.windows(5.0)
    assert len(windows) == 2
    sound, poses = windows[1].sound(), windows[1].dancer()
    assert sound is not None and sound.duration_s == pytest.approx(5.0)
    assert poses is not None and len(poses) == 120
    np.testing.assert_allclose(windows[1].beat_times[0], 0.4)  # 5.4 s at 100 BPM
    assert windows[1].windows(2.5)[1].start_s == 7.5
    assert rhythm_set.clips[1].dancer() is None
    assert one.duration_s == SECONDS


def test_unknown_folders_and_malformed_beats_are_refused(tmp_path):
    with pytest.raises(InputError, match="not a folder"):
        load_rhythm_set(tmp_path / "nowhere")
    with pytest.raises(InputError, match="no video with its beats"):
        load_rhythm_set(tmp_path)
    file = tmp_path / "a.csv"
    for text, message in (
        ("time_s,beat\n1,1\n0.5,2\n", "do not increase"),
        ("time_s,beat\nnow,1\n", "cannot read"),
        ("seconds\n1\n", "cannot read"),
        ("time_s,beat\ninf,1\n", "do not increase"),
    ):
        file.write_text(text)
        with pytest.raises(InputError, match=message):
            read_beat_file(file)
    file.write_text("time_s,beat\n")
    assert read_beat_file(file)[0].size == 0


@pytest.mark.slow
def test_sounds_without_a_beat_are_of_one_length_and_not_silent():
    kinds = set()
    for kind, sound in beatless_sounds():
        kinds.add(kind)
        assert sound.duration_s == pytest.approx(DURATION_S)
        assert (np.abs(sound.samples).max() > 0.01) == (kind != "silence")
        assert np.abs(sound.samples).max() <= 1.0
    assert {"applause", "random claps", "rain", "white noise", "hum", "silence"} <= kinds
