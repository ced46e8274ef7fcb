"""Companding to 256 classes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dancetomusic.codec.mulaw import SILENCE, decode_mulaw, encode_mulaw
from dancetomusic.errors import InputError


def test_every_class_comes_back():
    classes = np.arange(256, dtype=np.uint8)
    assert np.array_equal(encode_mulaw(decode_mulaw(classes)), classes)
    assert (np.diff(decode_mulaw(classes)) > 0).all()


def test_published_values():
    """ITU-T G.711 with µ = 255: half of full scale is at 0.8757 of the classes' range."""
    companded = 2 * encode_mulaw(np.array([0.5, -0.5])).astype(float) / 255 - 1
    np.testing.assert_allclose(companded, [0.8757, -0.8757], atol=1 / 255)


def test_silence_is_silent_and_full_scale_is_clipped():
    assert encode_mulaw(np.zeros(3)).tolist() == [SILENCE] * 3
    assert encode_mulaw(np.array([-7.0, 7.0])).tolist() == [0, 255]
    assert encode_mulaw(np.zeros(0)).size == 0


@given(st.floats(-1, 1))
def test_the_error_is_a_share_of_the_amplitude(value):
    back = float(decode_mulaw(encode_mulaw(np.array([value])))[0])
    assert abs(back - value) <= 0.0225 * (abs(value) + 1 / 255)
    assert back * value >= 0 or abs(value) < 1e-4


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_samples_that_are_not_finite_are_refused(bad):
    with pytest.raises(InputError, match="not finite"):
        encode_mulaw(np.array([0.0, bad]))
