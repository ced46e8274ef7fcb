from __future__ import annotations

import builtins
import hashlib
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from dancetomusic.errors import DependencyError, InputError, OutputError, PoseError
from dancetomusic.io.cache import cache_directory
from dancetomusic.pose.extract import extract_poses
from dancetomusic.pose.mediapipe import DETECTION_SIDE, default_model, detect_poses, shrink


def test_the_model_that_comes_with_the_package_is_whole() -> None:
    with zipfile.ZipFile(default_model()) as bundle:
        assert bundle.testzip() is None
        assert sorted(bundle.namelist()) == [
            "pose_detector.tflite",
            "pose_landmarks_detector.tflite",
        ]
    folder = default_model().parent
    assert "Apache License" in (folder / "LICENSE").read_text()
    digest = hashlib.sha256(default_model().read_bytes()).hexdigest()
    assert digest in (folder / "README.md").read_text()


@pytest.mark.parametrize("version", ["0.10.35", "1.2.3"])
def test_a_mediapipe_that_uses_the_network_is_refused(
    monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    import mediapipe

    monkeypatch.setattr(mediapipe, "__version__", version)
    with pytest.raises(DependencyError, match="reports its use"):
        next(detect_poses([np.zeros((36, 64, 3), np.uint8)], 24.0))


def test_a_cache_that_cannot_be_made_names_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("DANCETOMUSIC_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(OutputError, match="Set DANCETOMUSIC_CACHE"):
        cache_directory()


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (ImportError("libGL.so.1: cannot open shared object file"), "apt-get install libgl1"),
        (ModuleNotFoundError("no", name="mediapipe"), "pip install 'mediapipe"),
    ],
)
def test_a_missing_library_names_the_remedy(
    monkeypatch: pytest.MonkeyPatch, error: ImportError, remedy: str
) -> None:
    real = builtins.__import__

    def broken(name: str, *args: object, **kwargs: object) -> object:
        if name.startswith("mediapipe"):
            raise error
        return real(name, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", broken)
    with pytest.raises(DependencyError, match=remedy):
        next(detect_poses(iter([]), 24.0))


def test_large_pictures_are_averaged_down() -> None:
    stripes = np.zeros((1080, 1920, 3), np.uint8)
    stripes[:, ::2] = 200
    small = shrink(stripes)
    assert small.shape == (360, DETECTION_SIDE, 3)
    assert abs(float(small.mean()) - 100) < 1
    assert shrink(small) is small


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.task"
    wrong.write_bytes(b"nothing")
    picture = np.zeros((36, 64, 3), np.uint8)
    with pytest.raises(InputError, match="not a pose landmarker model"):
        next(detect_poses([picture], 24.0, model_path=wrong))
    with pytest.raises(InputError, match="does not exist"):
        next(detect_poses([picture], 24.0, model_path=tmp_path / "absent.task"))


@pytest.mark.slow
def test_a_video_without_a_person_is_refused_in_silence(capfd: pytest.CaptureFixture) -> None:
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 255, (90, 160, 3), dtype=np.uint8) for _ in range(30)]
    done: list[int] = []
    with pytest.raises(PoseError, match="no person was found in 30 frames"):
        extract_poses(frames, on_progress=done.append)
    assert done == list(range(1, 31))
    with pytest.raises(PoseError, match=r"lasts 0\.42 s"):
        extract_poses(frames[:10])
    with pytest.raises(PoseError, match="lasts 0"):
        extract_poses([])
    with pytest.raises(PoseError, match="at least 1"):
        extract_poses(frames, num_dancers=0)
    assert capfd.readouterr().err == ""
    assert "mediapipe" in sys.modules


def test_what_the_decoder_raises_arrives() -> None:
    def frames():
        yield np.zeros((90, 160, 3), np.uint8)
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="disk is gone"):
        extract_poses(frames())
