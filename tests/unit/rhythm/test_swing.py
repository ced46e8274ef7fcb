import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dancetomusic.errors import InputError
from dancetomusic.rhythm.swing import offbeat_position, straighten_beats, swing_beats


def test_off_beats_move_to_two_thirds_and_beats_stay() -> None:
    beats = np.array([0.0, 0.5, 1.0, 1.25, 1.5, 7.75, 8.0])
    expected = [0.0, 2 / 3, 1.0, 1 + 1 / 3, 1 + 2 / 3, 7 + 5 / 6, 8.0]
    np.testing.assert_allclose(swing_beats(beats, 1.0), expected)
    np.testing.assert_allclose(swing_beats(beats, 0.0), beats)
    assert offbeat_position(0.5) == pytest.approx(7 / 12)


@given(st.lists(st.floats(-50, 50), min_size=1), st.floats(0, 1))
def test_straightening_undoes_swing_and_order_is_kept(beats: list[float], swing: float) -> None:
    written = np.sort(np.array(beats))
    played = swing_beats(written, swing)
    assert (np.diff(played) >= 0).all()
    np.testing.assert_allclose(straighten_beats(played, swing), written, atol=1e-9)


@pytest.mark.parametrize("swing", [-0.1, 1.1, float("nan")])
def test_other_amounts_are_refused(swing: float) -> None:
    with pytest.raises(InputError, match="Give 0"):
        offbeat_position(swing)
