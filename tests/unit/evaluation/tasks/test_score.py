"""Scores are measured beside chance, by a command that writes a page and its values."""

import json

import numpy as np
import pytest

from dancetomusic.cli import main
from dancetomusic.errors import InputError
from dancetomusic.evaluation.tasks.rhythm.set import load_rhythm_set
from dancetomusic.evaluation.tasks.score import (
    METRONOME,
    NOISE,
    NOTE_ROWS,
    PLAYED_ROWS,
    ROWS,
    SONG,
    dances_of,
    evaluate,
    in_every_style,
    score_music,
)
from dancetomusic.generate.one import DanceToMusic
from dancetomusic.score.style import load_style, style_names
from tests.evaluation_factory import write_dances


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dances")
    write_dances(folder)
    return folder


@pytest.mark.slow(40)
def test_form_is_above_chance_and_the_same_every_time(folder):
    clips = list(load_rhythm_set(folder, split="train").clips)
    dances = list(dances_of(clips))
    assert len(dances) == len(clips) > 0
    chain = DanceToMusic.from_pretrained("score")
    (scored, music), (other, _) = (score_music(chain, dances[0], 2) for _ in range(2))
    values, again = scored.means, other.means
    assert set(values) == set(ROWS) - {"frechet"}
    assert len(scored.by_style) == 2
    assert {style for style, _ in scored.by_style} <= set(style_names())
    assert music.waveform.duration_s == pytest.approx(dances[0].rhythm.duration_s, abs=0.01)
    for name in set(values) - {"seconds"}:
        assert values[name] == again[name] or np.isnan(values[name])
    assert values["in_key"] > 0.95
    assert values["seeds"] < 0.9
    assert values["lufs"] == pytest.approx(-14.0, abs=0.5)


@pytest.mark.slow(40)
def test_the_command_writes_a_page_and_its_values(folder, tmp_path, capsys):
    page = tmp_path / "new" / "page.md"
    arguments = ["evaluate", "score", "--data", str(folder), "--output", str(page), "--seeds", "2"]
    arguments += ["--checkpoint", "score", "--checkpoint", "pose2audio"]
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert not end.value.code
    text = page.read_text(encoding="utf-8")
    coded = "score, through the codec of pose2audio"
    columns = ["score", "pose2audio", coded, SONG, METRONOME, NOISE]
    assert f"\n|  | {' | '.join(columns)} |\n" in text
    for name, title in ROWS.items():
        # A piece of 12 s has no bars that are 8 bars apart.
        assert f"\n| {title} |" in text or name.endswith(("_8", "frechet"))
    assert text in capsys.readouterr().out
    values = json.loads(page.with_suffix(".json").read_text())
    assert values["score"]["in_key"]["mean"] > 0.95 and values["score"]["in_key"]["dances"] == 1
    assert values[SONG]["librosa_f"]["mean"] > 0.9 > values[NOISE]["librosa_f"]["mean"]
    assert all(values[NOISE][name]["dances"] == 0 for name in NOTE_ROWS | PLAYED_ROWS)
    for row in ("score", coded):
        assert values[row]["onsets_heard"]["mean"] > values[row]["onsets_chance"]["mean"] + 0.2
    assert values[coded]["form"]["dances"] == 0  # of the notes, which are the same


def test_every_style_is_danced_at_its_tempo(folder):
    dances = list(dances_of(load_rhythm_set(folder, split="train").clips))
    for dance, name in zip(in_every_style(dances), style_names(), strict=True):
        style = load_style(name)
        assert dance.style == name
        assert dance.rhythm.bpm == pytest.approx(style.tempo[1], rel=0.02)
        assert dance.rhythm.beat_times.max() < dance.rhythm.duration_s
        assert dance.clip.sound() is None


def test_a_folder_that_is_none_is_refused(tmp_path):
    with pytest.raises(InputError, match="not a folder"):
        evaluate(tmp_path / "absent", tmp_path / "page.md")
