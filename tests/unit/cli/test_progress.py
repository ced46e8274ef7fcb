"""What is said while a command works and nobody looks at a terminal."""

import time

from dancetomusic.cli.progress import build_lines


def test_a_build_says_how_far_it_is_from_time_to_time(capfd):
    with build_lines(3, every_s=0.02) as listen:
        listen({"event": "section", "status": "cut", "clips": 4})
        listen({"event": "section", "status": "done before"})
        listen({"event": "clip", "status": "accepted"})
        listen({"event": "clip", "status": "refused"})
        time.sleep(0.2)
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) > 1
    assert lines[-1] == "sections 2 of 3, clips 2 of 4, 1 accepted"
    time.sleep(0.05)
    assert capfd.readouterr().err == ""
