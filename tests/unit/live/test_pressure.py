"""Steps of relief are taken when sound runs short, and given back when it does not."""

from dancetomusic.live.pressure import CALM_S, RELIEFS, RISE_S, Pressure


def _note(pressure: Pressure, now_s: float, ready_s: float, *, underrun: bool = False) -> None:
    pressure.note(ready_s, 0.1, now_s, underrun=underrun)


def test_enough_sound_needs_no_relief() -> None:
    pressure = Pressure()
    for k in range(100):
        _note(pressure, k * 0.04, 0.09)
    _note(pressure, 4.0, 0.01)  # one late block
    _note(pressure, 4.04, 0.09)
    assert pressure.level == pressure.highest == 0
    assert pressure.relief.look_pause_s == 0.0 and not pressure.relief.simple


def test_pictures_go_first_and_quality_last() -> None:
    pressure, steps = Pressure(), []
    for k in range(100):
        _note(pressure, k * 0.04, 0.0, underrun=True)
        steps.append(pressure.level)
    assert steps == sorted(steps) and max(steps) == len(RELIEFS) - 1
    assert steps.index(2) - steps.index(1) >= RISE_S / 0.04
    pauses = [relief.look_pause_s for relief in RELIEFS]
    assert pauses == sorted(pauses) and [relief.simple for relief in RELIEFS].index(True) == 3


def test_calm_gives_back_step_by_step() -> None:
    pressure = Pressure()
    for k in range(3):
        _note(pressure, k * RISE_S, 0.0, underrun=True)
    assert pressure.level == 3
    levels = []
    for k in range(1000):
        _note(pressure, 2.0 + k * 0.04, 0.1)
        levels.append(pressure.level)
    assert levels[0] == 3 and levels[-1] == 0
    assert levels.index(1) - levels.index(2) >= CALM_S / 0.04 - 1
    assert pressure.highest == 3
