import json
import re
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("librosa")
pytest.importorskip("mir_eval")

from dancetomusic.cli import main
from dancetomusic.evaluation.tasks.rhythm.estimators import BASELINES, TRUE_TEMPO
from dancetomusic.evaluation.tasks.rhythm.set import load_rhythm_set, read_beat_file
from dancetomusic.released import released_checkpoints
from tests.dance_factory import small_copy
from tests.rhythm_factory import SCORED, write_clips

pytestmark = pytest.mark.skipif(
    not {"codec", "pose2audio"} <= released_checkpoints().keys(), reason="no released weights"
)


def run(*arguments):
    with pytest.raises(SystemExit) as end:
        main(["evaluate", "rhythm", *(str(argument) for argument in arguments)])
    return end.value.code or 0


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A real run on five generated clips, all estimators, and the beats of another system."""
    folder = tmp_path_factory.mktemp("rhythm")
    write_clips(folder)
    peer = folder / "peer"
    peer.mkdir()
    for name in SCORED:
        beats = np.load(folder / f"{name}.npz")["beats"]
        lines = [f"{time:.3f},{k % 4 + 1}" for k, time in enumerate(beats)]
        (peer / f"{name}.csv").write_text("\n".join(["time_s,beat", *lines]))
    output = folder / "out" / "rhythm.md"
    arguments = ["--data", folder, "--output", output, "--beats_output", folder / "beats"]
    assert run(*arguments, "--beats_dir", f"peer={peer}") == 0
    return folder


@pytest.mark.slow
def test_one_page_has_every_row(report):
    page = (report / "out" / "rhythm.md").read_text(encoding="utf-8")
    for row in ("**sound**", "**movement**", "**auto**", "peer", *BASELINES):
        assert f"\n| {row} |" in page
    for name in SCORED:
        assert f"\n| {name} |" in page
    assert "\n| doubtful |" not in page and "nan" not in page
    assert "where it says ≥ 0.8" in page


@pytest.mark.slow
def test_scores_are_those_of_the_beats(report):
    values = json.loads((report / "out" / "rhythm.json").read_text(encoding="utf-8"))
    rows = {row: values["rows"][row]["cells"] for row in values["rows"]}
    assert rows["peer"]["f"]["mean"] == rows["peer"]["tempo"]["mean"] == 1.0
    assert rows["peer"]["f"]["dances"] == 2  # two clips are of one dancer
    assert rows["sound"]["f"]["mean"] > 0.9
    assert rows["truth, half a beat late"]["f"]["mean"] == 0.0
    assert rows[TRUE_TEMPO]["tempo"]["mean"] == 1.0
    assert rows[TRUE_TEMPO]["f"]["mean"] < 0.6
    assert values["seconds_per_minute"]["sound"] > 0


@pytest.mark.slow
def test_beats_of_every_clip_are_written(report):
    names = {clip.name for clip in load_rhythm_set(report).clips}
    assert {file.stem for file in (report / "beats").iterdir()} == names
    times, _ = read_beat_file(report / "beats" / "one.csv")
    np.testing.assert_allclose(np.median(np.diff(times)), 0.6, atol=0.01)


@pytest.mark.slow
def test_videos_with_beats_beside_them(tmp_path, demo_dir):
    video = min(demo_dir.glob("*.mp4"))
    small_copy(video, tmp_path / "dance.mp4")
    (tmp_path / "dance.beats.csv").write_text(video.with_suffix(".csv").read_text())
    output = tmp_path / "rhythm.md"
    arguments = ["--data", tmp_path, "--output", output, "--beats_from", "movement", "--whole"]
    assert run(*arguments) == 0
    assert "\n| dance |" in output.read_text(encoding="utf-8")
    assert run("--data", tmp_path, "--output", output, "--generate") == 0
    assert "\n| dance.mp4 |" in output.read_text(encoding="utf-8")


def test_bad_input_is_one_line(tmp_path, capsys):
    out = ["--output", tmp_path / "out.md"]
    for arguments, words in (
        (["--data", tmp_path / "nowhere", *out], "not a folder"),
        (["--data", tmp_path, *out], "no video with its beats beside it"),
        (["--data", tmp_path, *out, "--beats_dir", "peer"], "Give NAME=DIR"),
        (["--data", tmp_path, *out, "--beats_from", "stars"], "stars"),
    ):
        assert run(*arguments) == 2
        assert words in capsys.readouterr().err
    assert not (tmp_path / "out.md").exists()


@pytest.mark.slow
def test_figures_agree_with_the_judges_script(shared_data, tmp_path):
    """Our means are those of the script that judges beats, on the same files."""
    script = shared_data.parent / "tools" / "rhythm_score.py"
    data, beats = shared_data / "wild", tmp_path / "beats"
    arguments = ["--data", data, "--limit", 12, "--beats_from", "sound", "--whole"]
    assert run(*arguments, "--output", tmp_path / "a.md", "--beats_output", beats) == 0
    # The files hold milliseconds, so the files are what both must score.
    arguments = [*arguments, "--beats_dir", f"files={beats}"]
    assert run(*arguments, "--output", tmp_path / "b.md") == 0
    values = json.loads((tmp_path / "b.json").read_text())["rows"]["files"]
    done = subprocess.run(
        [sys.executable, script, beats, data], capture_output=True, text=True, check=True
    )
    line = done.stdout.splitlines()[0]
    assert f"groups {values['cells']['f']['dances']}, clips {values['clips']}" in line
    theirs = {what: float(mean) for what, mean in re.findall(r"([a-z ]+|F) (\d\.\d\d) \[", line)}
    ours = {
        "F": values["cells"]["f"]["mean"],
        "any level": values["cells"]["f_any_level"]["mean"],
        "tempo": values["cells"]["tempo"]["mean"],
        "octaves": values["cells"]["tempo_octave"]["mean"],
    }
    found = {what.strip().removeprefix("estimate").strip(): v for what, v in theirs.items()}
    assert found == pytest.approx(ours, abs=0.0051)
    assert f"(mean over clips F {values['over_clips']:.2f})" in line
