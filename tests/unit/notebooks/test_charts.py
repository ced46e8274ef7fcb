"""Charts: the numbers behind them are right, and each draws what it was given."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip("matplotlib")
pytest.importorskip("mir_eval")

from dancetomusic.builder.quality import GateThresholds
from dancetomusic.data.clip import FAILED, REFUSED, clip_directory, load_clip
from dancetomusic.data.manifest import write_manifest
from dancetomusic.errors import InputError
from dancetomusic.rhythm.beats import steady_grid
from dancetomusic.types import CodeSequence, PoseSequence, Waveform
from notebooks.charts import attention, clips, dance, report
from notebooks.charts.attention_maps import AttentionMaps
from notebooks.charts.demo import demo_piece
from tests.clip_factory import add_clip

SECONDS, FPS = 6.0, 24.0


def is_drawn(figure) -> bool:
    """Whether the figure can be written and shows something."""
    from matplotlib.image import imread

    with io.BytesIO() as file:
        figure.savefig(file, format="png", dpi=40)
        file.seek(0)
        return bool(np.ptp(imread(file)) > 0.5)


@pytest.fixture
def rhythm():
    return steady_grid(120.0, SECONDS, first_beat_s=0.25)


@pytest.fixture
def poses(tiny_rng):
    frames = round(SECONDS * FPS)
    return PoseSequence(
        world=tiny_rng.uniform(-0.8, 0.8, (frames, 33, 3)).astype(np.float32),
        present=np.arange(frames) > 20,
        visibility=np.ones((frames, 33), np.float32),
        fps=FPS,
        image=tiny_rng.uniform(0, 1, (frames, 33, 3)).astype(np.float32),
    )


@pytest.fixture
def sound(tiny_rng):
    return Waveform(tiny_rng.normal(0, 0.1, (1, 24_000 * 6)).astype(np.float32), 24_000)


def make_maps(to_memory, to_past, rate=75.0):
    """Maps of one layer and head."""
    shares = torch.as_tensor(to_memory, dtype=torch.float32)
    past = torch.as_tensor(to_past, dtype=torch.float32)
    return AttentionMaps(
        to_memory=shares[None, None],
        to_past=past[None, None],
        step_times=torch.arange(shares.shape[0]).double() / rate,
        memory_times=torch.arange(shares.shape[1] - 1).double() / 12.0,
    )


def test_beats_are_counted_with_fractions_and_go_on_outside(rhythm):
    counted = dance.beat_at(rhythm, [0.25, 0.5, 0.75, -0.25, 100.25])
    assert counted == pytest.approx([0, 0.5, 1, -1, 200])
    one = replace(
        rhythm, beat_times=np.zeros(1), beat_numbers=np.ones(1, int), confidence=np.ones(1)
    )
    with pytest.raises(InputError, match="1 beats"):
        dance.beat_at(one, 1.0)


def test_an_even_look_at_movement_is_one_in_every_part_of_the_beat(rhythm):
    even = np.full((450, 73), 1 / 73)
    maps = make_maps(even, np.eye(450))
    parts = attention.memory_by_beat_phase(maps, rhythm, 6)
    np.testing.assert_allclose(parts, 1.0, rtol=1e-5)


def test_looking_only_at_beats_is_seen(rhythm):
    shares = np.zeros((450, 73))
    shares[:, 0] = 0.5  # on nothing, which does not count
    on_beat = (np.arange(72) / 12 - 0.25) % 0.5 < 1e-6
    shares[:, 1:][:, on_beat] = 0.5 / on_beat.sum()
    parts = attention.memory_by_beat_phase(make_maps(shares, np.eye(450)), rhythm, 6)
    np.testing.assert_allclose(parts, [[6, 0, 0, 0, 0, 0]], atol=1e-5)
    finer = attention.memory_by_beat_phase(make_maps(shares, np.eye(450)), rhythm, 8)
    assert np.isnan(finer[0]).sum() == 2  # six positions a beat


def test_looking_one_beat_back_is_seen(rhythm):
    rate, n_steps = 80.0, 480  # a beat is 40 steps
    past = np.eye(n_steps)
    past[40:] = 0.25 * np.eye(n_steps)[40:] + 0.75 * np.eye(n_steps, k=-40)[40:]
    maps = make_maps(np.full((n_steps, 73), 1 / 73), past, rate)
    shares = attention.past_by_beats(maps, rhythm, n_beats=4.0, parts=4)
    expected = np.zeros((1, 16))
    expected[0, [0, 4]] = 0.25, 0.75
    np.testing.assert_allclose(shares, expected, atol=1e-6)
    with pytest.raises(InputError, match=r"12\.0 beats"):
        attention.past_by_beats(maps, rhythm, n_beats=13.0)


@pytest.mark.slow
def test_charts_of_a_dance_and_its_music_are_drawn(rhythm, poses, sound, tiny_rng):
    frames = [np.full((40, 30, 3), k, np.uint8) for k in range(len(poses))]
    codes = CodeSequence(tiny_rng.integers(0, 1024, (2, 450)), 75.0, "codec")
    figure = dance.draw_rhythm(poses, rhythm, rhythm)
    assert "120.0 BPM" in figure.axes[0].get_title()
    assert is_drawn(figure)
    for figure in (
        dance.draw_pictures(frames, poses),
        dance.draw_dancer(poses),
        dance.draw_codes(codes, sound, rhythm),
        dance.draw_takes({"one": sound, "two": sound}, rhythm),
    ):
        assert is_drawn(figure)
    with pytest.raises(InputError, match="3 frames"):
        dance.draw_pictures(frames[:3], poses)


@pytest.mark.slow(1)
def test_silence_and_absence_are_drawn_too(rhythm, poses):
    silence = Waveform(np.zeros((1, 24_000), np.float32), 24_000)
    nobody = PoseSequence(poses.world, np.zeros(len(poses), bool), poses.visibility, FPS)
    assert is_drawn(dance.draw_takes({"silence": silence}, rhythm))
    assert is_drawn(dance.draw_rhythm(nobody, rhythm))
    assert is_drawn(dance.draw_dancer(nobody))


@pytest.mark.slow(1)
def test_charts_of_attention_are_drawn(rhythm):
    even = np.tril(np.ones((450, 450)))
    maps = make_maps(np.full((450, 73), 1 / 73), even / even.sum(axis=1, keepdims=True))
    for figure in (
        attention.draw_heads(maps, rhythm),
        attention.draw_attention_by_beats(maps, rhythm),
        attention.draw_past(maps, rhythm, 0),
    ):
        assert is_drawn(figure)
    with pytest.raises(InputError, match="layer is 1"):
        attention.draw_past(maps, rhythm, 1)


def make_report():
    def cell(mean):
        return {"mean": mean, "low": mean and mean - 0.1, "high": mean, "dances": int(bool(mean))}

    columns = ("f", "cmlt", "onset_f1", "density")
    scores = dict.fromkeys(columns, 0.5)
    return {
        "facts": {},
        "summary": {
            "rows": {
                "**model**": {column: cell(0.75) for column in columns},
                "noise": {column: cell(None) for column in columns},
            },
            "targets": {"model": [{"name": "x", "value": "1", "wanted": "2", "holds": False}]},
        },
        "takes": [
            {"row": "**model**", "piece": "a", "scores": scores},
            {"row": "noise", "piece": "a", "scores": dict.fromkeys(columns)},
        ],
    }


def test_a_report_is_read_back_as_tables_and_a_chart(tmp_path):
    (tmp_path / "report.json").write_text(json.dumps(make_report()))
    values = report.read_report(tmp_path)
    assert values == report.read_report(tmp_path / "report.json") == make_report()
    table = report.scores_table(values, ["f"]).splitlines()
    assert table[0] == "|  | beat F whole | dances |"
    assert table[2:] == ["| **model** | 0.75 [0.65, 0.75] | 1 |", "| noise | – | 0 |"]
    assert "| x | 1 | 2 | **fails** |" in report.targets_table(values)
    assert is_drawn(report.draw_scores(values))
    for draw in (report.scores_table, report.draw_scores):
        with pytest.raises(InputError, match="no column beauty"):
            draw(values, ["beauty"])


@pytest.mark.parametrize("content", [None, "", "[]", '{"summary": 1}', '{"takes": []}'])
def test_what_is_no_report_is_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "report.json").write_text(content)
    with pytest.raises(InputError, match="dancetomusic evaluate"):
        report.read_report(tmp_path)


@pytest.fixture
def clip_set(tmp_path):
    root = tmp_path / "set"
    records = [add_clip(root, "one"), add_clip(root, "two", bpm=90.0, split="val")]
    add_clip(root, "three", status=REFUSED, reason="no sound; motion 6.000 m/s, above 5.000 m/s")
    add_clip(root, "four", status=FAILED, reason="cannot read a|b <i>*.mp4*")
    return root, write_manifest(root), records


def test_a_set_is_counted_and_its_refusals_are_told(clip_set):
    _, manifest, _ = clip_set
    counts = clips.counts_table(manifest).splitlines()
    assert counts[2:] == ["| train | 1 | 1 | 1 | 0.0 |", "| val | 1 | 0 | 0 | 0.0 |"]
    reasons = clips.reasons_table(manifest)
    assert "| 1 | no sound |" in reasons
    assert r"cannot read a\|b \<i\>\*.mp4\*" in reasons


@pytest.mark.slow
def test_charts_of_a_set_are_drawn(clip_set):
    root, manifest, records = clip_set
    figure = clips.draw_gate(manifest, GateThresholds(min_detected_share=0.4))
    titles = {axis.get_title(): axis for axis in figure.axes}
    assert set(titles) == set(clips.SCORES)
    marks = [line.get_xdata()[0] for line in titles["detected_share"].lines]
    assert marks == [0.4]
    assert len(titles["n_swaps"].lines) == 1
    assert is_drawn(figure)
    assert is_drawn(clips.draw_tempi(manifest))
    assert is_drawn(clips.draw_clip(load_clip(clip_directory(root, records[0].key))))


def test_every_limit_of_the_gate_on_a_number_is_shown():
    shown = {f"{end}_{name.removeprefix('n_')}" for name in clips.SCORES for end in ("min", "max")}
    limits = set(vars(GateThresholds())) - {"max_hash_distance"}  # that one compares clips
    assert limits <= shown


def test_codes_are_counted_by_codebook():
    def sequence(codes, codec="codec"):
        return CodeSequence(np.array(codes), 75.0, codec)

    pair = [sequence([[0, 0, 1], [3, 3, 3]]), sequence([[2, 0], [0, 1]])]
    counts = clips.code_counts(pair, 4)
    assert counts.tolist() == [[3, 1, 1, 0], [1, 1, 0, 3]]
    assert is_drawn(clips.draw_code_use(counts))
    for codes, words in (
        ([], "no codes"),
        ([sequence([[0]]), sequence([[0]], "other")], "are mixed"),
        ([sequence([[4]])], "codes go to 4"),
    ):
        with pytest.raises(InputError, match=words):
            clips.code_counts(codes, 4)


def test_a_demo_dance_has_clicks_for_music(demo_dir, tmp_path):
    name = demo_dir / "bounce_104bpm"
    piece = demo_piece(name.with_suffix(".npz"), name.with_suffix(".csv"), tmp_path / "a.wav")
    assert piece.name == "bounce_104bpm"
    assert piece.bpm == pytest.approx(104, rel=0.01)
    assert piece.duration_s == pytest.approx(12.0)
    assert np.abs(piece.music().samples).max() > 0.1
