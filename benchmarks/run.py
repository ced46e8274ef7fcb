"""Every benchmark, one after another; what they print goes to the screen and a results file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from dancetomusic.io.atomic import atomic_output

FOLDER = Path(__file__).resolve().parent


def main() -> None:
    """Run all ``bench_*.py`` and write ``results.md``."""
    report = ["# Results of `make bench`\n"]
    for script in sorted(FOLDER.glob("bench_*.py")):
        print(f"== {script.name}", flush=True)
        run = subprocess.run([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
        if run.returncode:
            sys.exit(f"{script.name} failed")
        print(run.stdout, flush=True)
        report.append(f"## `python benchmarks/{script.name}`\n\n{run.stdout.strip()}\n")
    with atomic_output(FOLDER / "results.md") as temporary:
        temporary.write_text("\n".join(report), encoding="utf-8")


if __name__ == "__main__":
    main()
