"""``dancetomusic info``."""

from __future__ import annotations

from pathlib import Path

from dancetomusic import __version__


def info() -> None:
    """Print what is installed: versions, released checkpoints, cache, optional parts."""
    from importlib.metadata import PackageNotFoundError, version
    from platform import python_version
    from shutil import which

    from platformdirs import user_cache_path

    from dancetomusic.models.registry import families
    from dancetomusic.released import released_checkpoints

    def installed(package: str) -> str:
        try:
            return version(package)
        except PackageNotFoundError:
            return "not installed"

    print(f"dancetomusic {__version__}, {Path(__file__).resolve().parents[1]}")
    print(f"python       {python_version()}")
    for package in ("torch", "mediapipe", "av"):
        print(f"{package:<12} {installed(package)}")
    playing = [family.name for family in families().values() if family.plays]
    print(f"\nmodels that make music: {', '.join(playing)}")
    print("\nreleased checkpoints")
    for name, folder in released_checkpoints().items():
        size = sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
        print(f"  {name:<20} {size / 1e6:5.1f} MB  {folder}")
    print(f"\ncache        {user_cache_path('dancetomusic')}")
    print("\noptional parts")
    for package, purpose in (
        ("onnxruntime", "quicker token decoding"),
        ("transformers", "the EnCodec codec"),
        ("pyvista", "rendering a dancer"),
        ("mir_eval", "evaluation"),
    ):
        print(f"  {package:<14} {installed(package):<14} {purpose}")
    print(f"  {'fluidsynth':<14} {which('fluidsynth') or 'not installed':<14} training music")
