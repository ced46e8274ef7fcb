import pytest

from dancetomusic import errors

KINDS = [
    errors.InputError,
    errors.VideoError,
    errors.PoseError,
    errors.OutputError,
    errors.CheckpointError,
    errors.ConfigError,
    errors.DependencyError,
    errors.TrainingError,
]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_caught_by_the_base_and_names_problem_and_remedy(kind):
    with pytest.raises(errors.DanceToMusicError) as caught:
        raise kind("dance.mp4 is empty", "Name a video.")
    assert str(caught.value) == "dance.mp4 is empty. Name a video."
    assert caught.value.problem == "dance.mp4 is empty"
    assert caught.value.remedy == "Name a video."


def test_a_problem_that_ends_with_a_stop_gets_no_second_one():
    assert str(errors.InputError("It is empty.", "Fill it.")) == "It is empty. Fill it."


def test_a_problem_of_many_lines_becomes_one():
    assert str(errors.InputError("while scanning\n  a  quote\n", "Fix it.")) == (
        "while scanning a  quote. Fix it."
    )


def test_errors_of_video_and_poses_are_errors_of_input():
    assert issubclass(errors.VideoError, errors.InputError)
    assert issubclass(errors.PoseError, errors.InputError)
    assert not issubclass(errors.OutputError, errors.InputError)
