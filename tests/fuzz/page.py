"""The page's interface by its own description: schemathesis sends what that allows, and what not.

    python -m tests.fuzz.page --examples 100 [--schemathesis PATH]

Needs ``pip install schemathesis``, in this environment or another (``--schemathesis`` names the
program). A server is started on loopback with a video, a take and a file of it, so that half of the
requests reach what exists. Found is: a status of 500 or above, an answer that is not as described,
a request taken that the description does not allow, or a server that is gone.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.app_server import follow, make_take, new_client, read_rhythm, running_server, send_video
from tests.dance_factory import small_copy

DEMO = Path(__file__).resolve().parents[2] / "data" / "demo" / "steps_128bpm.mp4"
HOOKS = """
import os

import schemathesis

KNOWN = dict(pair.split("=") for pair in os.environ["PAGE_IDS"].split())


@schemathesis.hook
def map_path_parameters(context, parameters):
    "Every other request names what exists; nothing that is needed further is deleted."
    operation = context.operation
    known = next((KNOWN[part] for part in operation.path.split("/") if part in KNOWN), None)
    if known and parameters and operation.method != "delete" and len(str(parameters)) % 2:
        parameters["name"] = known
    return parameters
"""
UNCHECKED = (
    "positive_data_acceptance",  # what a body says may be refused, such as beats of no order
    "ensure_resource_availability",  # what was made may not be done yet
)


def main() -> None:
    """Run schemathesis; exit as it does, or 1 where the server is gone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=100, help="of each operation")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--longest_s", type=int, default=1800)
    parser.add_argument(
        "--schemathesis", type=Path, default=Path(sys.executable).with_name("schemathesis")
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "hooks.py").write_text(HOOKS)
        video = small_copy(DEMO, folder / "dance.mp4", seconds=2.0)
        with (
            running_server(folder) as (address, process),
            new_client(address) as client,
        ):
            clip = send_video(client, video.read_bytes()).json()["id"]
            read_rhythm(client, clip)
            take = make_take(client, clip)["result"]["take"]
            wish = {"format": "mid", "name": "dance"}
            job = client.post(f"/api/takes/{take}/files", json=wish).json()["job"]
            file = follow(client, job)["result"]["url"].rpartition("/")[2]
            run = subprocess.run(
                [
                    arguments.schemathesis,
                    "run",
                    f"{address}/api/openapi.json",
                    f"--exclude-checks={','.join(UNCHECKED)}",
                    f"--max-examples={arguments.examples}",
                    f"--seed={arguments.seed}",
                    f"--max-time={arguments.longest_s}",
                    "--suppress-health-check=all",
                    "--request-timeout=60",
                    "--continue-on-failure",
                    "--warnings=off",
                ],
                cwd=folder,
                env={
                    **os.environ,
                    "SCHEMATHESIS_HOOKS": "hooks",
                    "PYTHONPATH": str(folder),
                    "PAGE_IDS": f"clips={clip} takes={take} jobs={job} files={file}",
                },
            )
            alive = process.poll() is None and client.get("/health").is_success
    print("the server lives" if alive else "the server is gone")
    sys.exit(run.returncode or not alive)


if __name__ == "__main__":
    main()
