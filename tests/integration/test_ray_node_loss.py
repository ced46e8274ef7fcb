"""A cluster of four nodes that loses one while a set is built."""

import threading
import time

import pytest

from dancetomusic.builder.pipeline import build
from dancetomusic.builder.settings import BuildSettings
from dancetomusic.builder.sources import read_folder
from dancetomusic.parallel import open_engine
from tests.dance_factory import small_copy

ray = pytest.importorskip("ray")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

NODE = {"num_cpus": 1, "object_store_memory": 80_000_000}


def contents(output):
    files = (file for file in output.rglob("*") if file.is_file() and file.name != ".lock")
    return {file.relative_to(output): file.read_bytes() for file in files}


def test_a_node_that_is_lost_costs_nothing_but_time(demo_dir, tmp_path):
    from ray.cluster_utils import Cluster

    (tmp_path / "videos").mkdir()
    for name in ("steps_128bpm", "bounce_104bpm"):
        small_copy(demo_dir / f"{name}.mp4", tmp_path / "videos" / f"{name}.mp4", seconds=4.1)
    sections = read_folder(tmp_path / "videos")
    settings = BuildSettings(max_seq_len=2.0, separator="hpss")
    cluster = Cluster(initialize_head=True, head_node_args=NODE | {"include_dashboard": False})
    clips, built, lost = tmp_path / "ray" / ".work" / "clips", threading.Event(), []
    try:
        nodes = [cluster.add_node(**NODE) for _ in range(3)]
        cluster.wait_for_nodes()

        def lose_a_node(own):
            while not built.is_set() and not list(clips.glob("*/mix.flac")):
                time.sleep(0.02)
            # Which of the nodes the driver is at is up to Ray; without that one all would end.
            node = next(node for node in nodes if node.node_id != own)
            lost.append(not built.is_set())
            cluster.remove_node(node, allow_graceful=False)

        with open_engine("ray", ray_address=cluster.address) as engine:
            assert engine.workers == 4
            own = ray.get_runtime_context().get_node_id()
            loser = threading.Thread(target=lose_a_node, args=(own,), daemon=True)
            loser.start()
            summary = build(sections, tmp_path / "ray", settings, engine)
            built.set()
            loser.join()
    finally:
        cluster.shutdown()
    assert lost == [True], "the set was built before a node was lost"
    assert summary.clips == {"accepted": 4}
    with open_engine("serial") as here:
        build(sections, tmp_path / "here", settings, here)
    assert contents(tmp_path / "ray") == contents(tmp_path / "here")
