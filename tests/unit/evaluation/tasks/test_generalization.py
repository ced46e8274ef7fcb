"""Bodies never seen: each movement once, runs averaged dance by dance, causal reading causal."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("mir_eval")

from dancetomusic.checkpoint import save_checkpoint
from dancetomusic.cli import main
from dancetomusic.config import config_to_dict
from dancetomusic.data.dance import Dance, Figure, fully_visible
from dancetomusic.data.street import StreetClip
from dancetomusic.errors import InputError
from dancetomusic.evaluation.clips import OFFSETS, best_offset_by_genre, f_at_offsets
from dancetomusic.evaluation.pieces import Song
from dancetomusic.evaluation.tasks.generalization import task
from dancetomusic.evaluation.tasks.generalization.scores import (
    ClipScore,
    Reading,
    dance_clips,
    figures_between,
    held_out_clips,
    per_dance,
    pool,
    score_baselines,
    score_clips,
    score_street,
)
from dancetomusic.metrics.beats import OCTAVES, tempo_bpm, tempo_matches
from dancetomusic.models.pose_encoder.network import PoseEncoder, PoseEncoderConfig
from dancetomusic.synthesis.choreography import choreograph
from dancetomusic.types import PoseSequence

NONE = np.zeros(0)
NOTHING = np.zeros(0, bool)


def _poses(seconds: float, seed: int = 0) -> PoseSequence:
    world = choreograph("steps", 120.0, seconds, seed=seed).world[: round(seconds * 24)]
    return fully_visible(world, 24.0)


def _dance(name: str, figures: list[str], split: str = "train", genre: str = "waltz") -> Dance:
    """At 120 BPM, four beats a figure."""
    n_beats = 4 * len(figures)
    return Dance(
        dance_id=name,
        genre=genre,
        split=split,
        sync_quality="A",
        bpm=120.0,
        poses=_poses(n_beats / 2),
        beat_times=np.arange(n_beats) / 2,
        beats_per_bar=4,
        downbeat_known=True,
        figures=tuple(Figure(figure, 4.0 * k, 4.0) for k, figure in enumerate(figures)),
        audio_path=Path("none"),
    )


def _score(dance: str, name: str, f: float) -> ClipScore:
    return ClipScore(dance, name, f, 1.0, NONE, NOTHING, NONE, NOTHING)


def _run(folder: Path, *, causal: bool = False, seed: int = 0, **metadata: object) -> str:
    torch.manual_seed(seed)
    config = PoseEncoderConfig(channels=8, dilations=(1,), causal=causal)
    save_checkpoint(
        folder,
        model="pose_encoder",
        config=config_to_dict(config),
        tensors=PoseEncoder(config).state_dict(),
        metadata={"seed": seed, **metadata},
    )
    return str(folder)


@pytest.fixture
def dances() -> list[Dance]:
    """Figures of three blocks; the second dance repeats a stretch of the first."""
    first = ["W-1-1", "W-1-2", "W-1-1", "W-2-1", "W-2-2", "W-3-1", "W-3-1"]
    return [
        _dance("one", [*first, "W-1-1"]),
        _dance("two", ["W-1-1", "W-1-2", "W-1-1", "W-2-1", "W-3-1"]),
        _dance("three", ["W-2-1", "W-3-1", "W-1-1"], "val"),
        _dance("four", ["T-1-1", "T-2-1", "T-3-1"], "val", "tango"),
    ]


def test_each_movement_is_cut_once_and_from_the_start_of_its_stretch(dances):
    blocks = [held_out_clips(dances, f"figures-{k}", 3.0) for k in range(3)]
    long = [item for items in blocks for item in items if item.name.split()[1].startswith("one_0")]
    assert [item.dance for item in long] == ["one", "one"]
    assert all(len(item.poses) == 72 for item in long)
    assert not any(item.name.split()[1] == "two_0.0" for items in blocks for item in items)
    names = [item.name for items in blocks for item in items]
    assert len(names) == len(set(names))


def test_retimed_stretches_are_cut_as_they_are_read(dances):
    slow, fast = (
        [item for k in range(3) for item in held_out_clips(dances, f"figures-{k}", 3.0, [s])]
        for s in (0.75, 1.35)
    )
    assert {clip.bpm for clip in slow} == {90.0} and len(slow) > len(fast)
    assert [clip.bpm for clip in fast] == pytest.approx([162.0] * len(fast))
    for clip in slow + fast:
        assert np.diff(clip.beat_times) == pytest.approx(60 / clip.bpm)


def test_a_sliver_of_a_figure_does_not_make_another_movement(dances):
    assert figures_between(dances[0], 0.0, 4.2) == ("W-1-1", "W-1-2")
    assert figures_between(dances[0], 0.0, 4.4) == ("W-1-1", "W-1-2", "W-1-1")


def test_seeds_then_clips_then_dances_are_averaged():
    scores = [_score("a", "a1", 1.0), _score("a", "a1", 0.0), _score("a", "a2", 0.0)]
    scores += [_score("b", "b1", 0.75)]
    assert per_dance(scores, lambda score: score.f) == {"a": 0.25, "b": 0.75}
    pooled = pool(scores)
    assert (pooled.f.mean, pooled.f.dances, pooled.clips) == (0.5, 2, 3)
    assert (pooled.f.low, pooled.f.high) == (0.25, 0.75)
    assert np.isnan(pool([]).f.mean)


def test_truth_scores_one_and_rows_that_know_nothing_do_not(dances):
    clips = dance_clips(dances[:1], 5.0)
    truths = [Reading(c.beat_times, np.ones(c.beat_times.size)) for c in clips]
    reader = iter(truths)
    scores = score_clips(lambda poses: next(reader), clips)
    assert [score.f for score in scores] == [1.0] * 3
    assert all(score.tempo == 1.0 and score.right.all() for score in scores)
    songs = [Song("one", "waltz", 240.0, Path("none")), Song("x", "waltz", 120.0, Path("none"))]
    baselines = score_baselines(songs, clips)
    assert pool(baselines["genre's mean tempo, random phase"]).tempo.mean == 1.0
    assert all(pool(own).f.mean < 0.9 for own in baselines.values())


def test_a_score_says_which_beats_were_found(dances):
    clips = dance_clips(dances[:1], 5.0)[:1]
    beats = clips[0].beat_times
    late = Reading(beats[4:] + 0.05, np.ones(beats.size - 4))
    (score,) = score_clips(lambda poses: late, clips)
    assert not score.found[:4].any() and score.found[4:].all()
    assert score.beat_times == pytest.approx(beats)


def test_a_tempo_may_be_half_or_double_but_not_three_times():
    beats = np.arange(20) * 0.5
    bpm = tempo_bpm(beats)
    assert tempo_matches(bpm / 120.0) and not tempo_matches(bpm / 60.0)
    assert tempo_matches(bpm / 60.0, OCTAVES) and tempo_matches(bpm / 240.0, OCTAVES)
    assert not tempo_matches(bpm / 40.0, OCTAVES)
    assert not tempo_matches(tempo_bpm(NONE) / 120.0, OCTAVES)


def test_the_offset_is_one_for_a_genre():
    late = f_at_offsets(np.arange(20) * 0.5 + 0.15, 120.0, 10.0)
    early = f_at_offsets(np.arange(20) * 0.5 + 0.35, 120.0, 10.0)
    assert OFFSETS[late.argmax()] == pytest.approx(0.3, abs=0.15)
    assert late.max() == early.max() == 1.0
    table = np.stack([late, early])
    apart, together = (best_offset_by_genre(table, g) for g in (["a", "b"], ["a", "a"]))
    assert apart.tolist() == [1.0, 1.0]
    assert together.sum() < 1.5


@pytest.mark.slow
def test_street_rows_free_the_offset_of_all_alike():
    clips = [
        StreetClip(f"c{k}", "AB"[k % 2], 100.0 + k, _poses(8.0, k), np.arange(13) * 0.6, False)
        for k in range(6)
    ]
    clips.append(StreetClip("flat", "A", 90.0, _poses(8.0), NONE, True))
    right = [np.arange(0.1, 8.0, 60 / clip.bpm) for clip in clips]
    double = [np.arange(0.1, 8.0, 30 / clip.bpm) for clip in clips]
    rows = score_street(clips, {"good": [right, right], "fast": [double]})
    table = {(row.clips, row.row): row for row in rows}
    good, fast = (table["with depth", name] for name in ("good", "fast"))
    assert good.tempo.mean == fast.tempo.mean == 1.0
    assert good.f.mean == 1.0 and good.lead.low > 0 and good.seeds == 2
    chance = table["with depth", "true tempo, random phase"]
    assert chance.lead.mean == 0.0 and 0.2 < chance.f.mean < 0.9
    flat = table["without depth", "good"]
    assert flat.tempo.dances == 1 and flat.f.dances == 0
    targets = task.street_targets(rows, ["good", "fast"])
    assert [target.holds for target in targets[:3]] == [True, True, True]
    assert not any(target.complete for target in targets)


def test_a_causal_reading_does_not_know_what_follows():
    config = PoseEncoderConfig(channels=8, dilations=(1, 2), causal=True)
    encoder = PoseEncoder(config).eval()
    poses = _poses(9.0)
    later = poses.world.copy()
    later[120:] = later[120:][::-1]
    other = PoseSequence(later, poses.present, poses.visibility, 24.0)
    one, two = (task.read_clip(encoder, moved).beat_times for moved in (poses, other))
    assert one[one < 4.9].size > 0
    assert one[one < 4.9].tolist() == two[two < 4.9].tolist()
    assert one[one > 5].tolist() != two[two > 5].tolist()


def test_runs_say_what_they_have_not_seen(tmp_path):
    names = [
        _run(tmp_path / "a", dances=["one"]),
        _run(tmp_path / "b", hold_out="figures", causal=True),
        _run(tmp_path / "c", hold_out="tango", seed=2),
    ]
    runs = task.find_runs(names)
    assert [run.section for run in runs] == [task.SEEN, task.UNSEEN, "tango left out"]
    assert [run.reading for run in runs] == ["non-causal", "causal", "non-causal"]
    assert runs[1].hold_out == "figures-0" and runs[2].seed == 2
    with pytest.raises(InputError, match="have one seed"):
        task.find_runs([*names, _run(tmp_path / "d", dances=["two"])])


def test_a_run_is_not_scored_on_what_it_learned_from(tmp_path, dances):
    for metadata in ({"dances": ["three"]}, {"hold_out": "tango", "dances": ["four"]}):
        runs = task.find_runs([_run(tmp_path / "a", **metadata)])
        with pytest.raises(InputError, match="was trained on"):
            task.score_runs(runs, dances, [])
    runs = task.find_runs([_run(tmp_path / "b", hold_out="polka")])
    with pytest.raises(InputError, match="polka"):
        task.score_runs(runs, dances, [])


def test_a_mean_without_its_interval_above_the_baselines_rows_is_not_enough():
    group = task.Group(
        section=task.UNSEEN,
        reading="non-causal",
        runs="3 seeds",
        complete=True,
        scores={
            "5 s": [_score("a", "1", 1.0), _score("b", "2", 0.1)],
            "5 s, retimed": [_score("a", "3", 0.45)],
        },
        baselines={"5 s": {"120 BPM": [_score("a", "1", 0.2)]}, "5 s, retimed": {}},
    )
    assert [target.holds for target in task.targets_of(group)] == [True, False, False]


@pytest.mark.slow
def test_the_command_writes_one_page(tmp_path, dances, capsys):
    _write_folder(tmp_path / "data", dances)
    runs = [
        _run(tmp_path / "a"),
        _run(tmp_path / "b", causal=True),
        _run(tmp_path / "c", hold_out="figures-1"),
        _run(tmp_path / "d", hold_out="tango"),
    ]
    street = tmp_path / "street"
    street.mkdir()
    np.savez(
        street / "gBR.npz",
        mp33_24=_poses(6.0).world,
        bpm=120.0,
        beats=np.arange(12) / 2,
        genre="BR",
    )
    page = tmp_path / "page.md"
    given = ["--data", str(tmp_path / "data"), "--street", str(street), "--output", str(page)]
    command = ["evaluate", "generalization", *given]
    with pytest.raises(SystemExit) as end:
        main([*command, *runs])
    assert not end.value.code
    text = page.read_text()
    assert capsys.readouterr().out.strip() == text.strip()
    for title in (
        "Targets",
        "Seen figures",
        "Unseen figures",
        "Tango left out",
        "Street dance",
        "Settling",
    ):
        assert f"## {title}" in text
    assert "1 seed, 1 of 3 blocks" in text and "nan" not in text
    values = json.loads(page.with_suffix(".json").read_text())
    assert {group["section"] for group in values["groups"]} == {
        task.SEEN,
        task.UNSEEN,
        "tango left out",
    }
    with pytest.raises(SystemExit, match="2"):
        main([*command[:-1], str(tmp_path / "no" / "page.md"), *runs])
    assert "Name a Markdown file" in capsys.readouterr().err


def _write_folder(folder: Path, dances: list[Dance]) -> None:
    (folder / "motion").mkdir(parents=True)
    rows = ["id,genre,split,sync_quality,bpm,snap"]
    for dance in dances:
        rows.append(f"{dance.dance_id},{dance.genre},{dance.split},A,120,downbeat")
        np.savez(
            folder / "motion" / f"{dance.dance_id}.npz",
            mp33=dance.poses.world,
            mp_fps=24,
            beat_times=dance.beat_times,
            cau=np.array([figure.name for figure in dance.figures]),
            cau_beat=np.array([figure.first_beat for figure in dance.figures]),
            cau_beats=np.array([figure.n_beats for figure in dance.figures]),
        )
    (folder / "index.csv").write_text("\n".join(rows) + "\n")
