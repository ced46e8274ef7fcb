"""A shim: everything is in pyproject.toml, except that a wheel takes checkpoints/ along."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithCheckpoints(build_py):
    def run(self):
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib, "dancetomusic", "_checkpoints")
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree("checkpoints", target)


setup(cmdclass={"build_py": BuildWithCheckpoints})
