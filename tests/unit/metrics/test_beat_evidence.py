import numpy as np
import pytest

from dancetomusic.metrics.beat_evidence import beat_evidence

RATE = 75.0
CYCLES = np.arange(1500) / RATE * 2.0  # 120 BPM
PHASE = 0.4 * np.stack([np.cos(2 * np.pi * CYCLES), np.sin(2 * np.pi * CYCLES)], axis=1)
PHASE = PHASE.astype(np.float32)


@pytest.mark.parametrize(("late_s", "score"), [(0.0, 1.0), (0.125, 0.0), (0.25, -1.0)])
def test_score_is_the_cosine_of_the_phase(late_s, score):
    beats = np.arange(2, 30) * 0.5 + late_s
    assert beat_evidence(PHASE, RATE, beats) == pytest.approx(score, abs=0.1)


def test_another_tempo_is_chance():
    assert abs(beat_evidence(PHASE, RATE, np.arange(2, 30) * 0.617)) < 0.15


def test_without_beats_or_movement_nothing_is_said():
    assert np.isnan(beat_evidence(PHASE, RATE, np.zeros(0)))
    assert np.isnan(beat_evidence(PHASE, RATE, np.array([-1.0, 500.0])))
    assert np.isnan(beat_evidence(np.zeros((0, 2), np.float32), RATE, np.array([1.0])))
    assert np.isnan(beat_evidence(np.zeros((200, 2), np.float32), RATE, np.array([1.0])))
