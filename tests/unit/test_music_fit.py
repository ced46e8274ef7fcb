import json
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("mir_eval")
pytest.importorskip("librosa")

from dancetomusic.evaluation import music_fit
from dancetomusic.evaluation.baselines import metronome_times, render_clicks
from dancetomusic.media.audio import write_wav
from dancetomusic.types import CodeSequence, PoseSequence, Waveform

SECONDS = 12.0


class SampleCodec:
    """Sixteen-bit samples as codes."""

    identity = "samples"
    sample_rate = 24_000
    hop_length = 1
    frame_rate = 24_000.0
    n_codebooks = 1
    codebook_size = 65_536

    def encode(self, waveform: Waveform) -> CodeSequence:
        levels = np.round((waveform.samples + 1) * 32767).astype(np.int64)
        return CodeSequence(levels, self.frame_rate, self.identity)

    def decode(self, codes: CodeSequence) -> Waveform:
        return Waveform((codes.codes / 32767 - 1).astype(np.float32), self.sample_rate)

    def decoder_stream(self):
        raise NotImplementedError


@pytest.fixture
def folder(tmp_path):
    """Three dances to metronomes of different tempi, in the layout of the ballroom set."""
    (tmp_path / "motion").mkdir()
    (tmp_path / "audio").mkdir()
    rows = ["id,genre,split,sync_quality,bpm,snap"]
    for name, genre, split, bpm in (
        ("A", "tango", "val", 100.0),
        ("B", "tango", "train", 105.0),
        ("C", "waltz", "train", 83.0),
    ):
        rows.append(f"{name},{genre},{split},A,{bpm},beat")
        beats = metronome_times(bpm, SECONDS)
        np.savez(
            tmp_path / "motion" / f"{name}.npz",
            mp33=np.zeros((round(24 * SECONDS), 33, 3), dtype=np.float16),
            mp_fps=24,
            beat_times=beats.astype(np.float32),
            cau=np.array(["T-1"]),
            cau_beat=np.array([0.0]),
            cau_beats=np.array([8.0]),
        )
        write_wav(tmp_path / "audio" / f"{name}.opus.wav", render_clicks(beats, SECONDS))
        (tmp_path / "audio" / f"{name}.opus.wav").rename(tmp_path / "audio" / f"{name}.opus")
    (tmp_path / "index.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


def test_report_has_every_baseline_and_ranks_truth_first(folder):
    output = folder / "out"
    music_fit.main(data=folder, checkpoint=["none"], seeds=2, output=output)
    text = (output / "music_fit.md").read_text()
    rows = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| ")]
    assert rows[1] == music_fit.TRUTH
    assert {music_fit.NOISE, *music_fit.RIVALS} <= set(rows)
    table = json.loads((output / "music_fit.json").read_text())["rows"]
    assert set(table[music_fit.TRUTH]) == {"A"}
    truth, late = (table[row]["A"] for row in (music_fit.TRUTH, "ground truth, half a beat late"))
    assert truth["f"] > 0.95 and truth["onset_f1"] == 1.0 and truth["tempo"] == 1.0
    assert late["f"] < 0.2 and late["tempo"] == 1.0
    assert table[music_fit.METRONOME_120]["A"]["tempo"] == 0.0


def test_models_get_their_rows_and_leads(folder):
    class Oracle:
        codec = SampleCodec()

        def generate(self, source, *, seed=0):
            assert isinstance(source, PoseSequence)
            times = metronome_times(100.0, SECONDS)
            return SimpleNamespace(
                waveform=render_clicks(times, SECONDS), rhythm=SimpleNamespace(beat_times=times)
            )

    songs = music_fit.load_dances(folder)
    table = music_fit.score_dances(songs[:1], songs, {"oracle": Oracle()}, seeds=1)
    assert table["**oracle**"]["A"]["f"] > 0.95
    assert table["metronome on the beats read by oracle"]["A"]["f"] > 0.95
    assert table["ground truth through the codec of oracle"]["A"]["onset_f1"] == 1.0
    (lead,) = music_fit.lead(table, "**oracle**", music_fit.METRONOME_120, "f")
    assert lead > 0.3
    assert f"oracle over {music_fit.METRONOME_120} |" in music_fit.report_markdown(
        table, ["oracle"]
    )


def test_missing_values_stay_out_of_the_means():
    table = {"row": {"A": dict.fromkeys(music_fit.COLUMNS, 0.5)}}
    table["row"]["B"] = {**table["row"]["A"], "tempo_error": float("nan")}
    assert "| row | 0.50 [0.50, 0.50] |" in music_fit.report_markdown(table)
    assert "nan" not in music_fit.report_markdown(table)
