"""The Ray engine on a cluster of two nodes."""

import os
import time
from pathlib import Path

import pytest

from dancetomusic.errors import OutputError
from dancetomusic.parallel import ONE_THREAD, WorkerDied, open_engine
from tests.dance_factory import small_copy

ray = pytest.importorskip("ray")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


def node_of(seconds):
    time.sleep(seconds)
    return ray.get_runtime_context().get_node_id(), os.getpid()


def digest(number):
    import numpy as np

    return np.random.default_rng(number).standard_normal((64, 64)).cumsum().tobytes()


def die_until(folder, lives):
    count = len(os.listdir(folder))
    Path(folder, str(count)).touch()
    if count < lives:
        os._exit(9)
    return count


def fail():
    raise OutputError("disk is full", "Free some space.")


def environment(*names):
    return [os.environ.get(name) for name in names]


@pytest.fixture(scope="module")
def cluster():
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": 80_000_000}
    made = Cluster(initialize_head=True, head_node_args=head)
    made.add_node(num_cpus=1, object_store_memory=80_000_000)
    made.wait_for_nodes()
    yield made
    made.shutdown()


@pytest.fixture(scope="module")
def engine(cluster):
    with open_engine("ray", ray_address=cluster.address) as opened:
        yield opened


def test_both_nodes_work_and_processes_are_reused(engine):
    assert engine.workers == 2
    places = [future.result() for future in [engine.submit(node_of, 0.3) for _ in range(16)]]
    assert len({node for node, _ in places}) == 2
    assert len({pid for _, pid in places}) <= 4


def test_results_are_those_of_processes(engine):
    with open_engine("processes", workers=1) as processes:
        expected = [processes.submit(digest, n) for n in range(8)]
        found = [engine.submit(digest, n) for n in range(8)]
        assert [f.result() for f in found] == [f.result() for f in expected]


def test_a_dying_task_is_tried_once_more_and_then_given_up(engine, tmp_path):
    once, always = tmp_path / "once", tmp_path / "always"
    once.mkdir(), always.mkdir()
    deadly = engine.submit(die_until, str(always), 99)
    assert engine.submit(die_until, str(once), 1).result() == 1
    with pytest.raises(WorkerDied):
        deadly.result()
    assert len(list(once.iterdir())) == len(list(always.iterdir())) == 2


def test_errors_come_back_as_themselves(engine):
    error = engine.submit(fail).exception()
    assert type(error) is OutputError
    assert error.problem == "disk is full"


def test_workers_compute_in_one_thread(engine):
    for _ in range(3):
        assert engine.submit(environment, *ONE_THREAD).result() == ["1"] * len(ONE_THREAD)


def test_what_has_not_begun_is_forgotten(cluster, engine, capfd):
    from dancetomusic.parallel import Engine, _RayWorker

    pool = Engine(_RayWorker, 1)
    first = pool.submit(node_of, 0.5)
    others = [pool.submit(node_of, 0.0) for _ in range(10)]
    while not first.running():
        time.sleep(0.01)
    pool.close()
    assert first.result()
    assert all(other.cancelled() for other in others)
    assert capfd.readouterr() == ("", "")


def test_a_set_built_on_the_cluster_has_the_same_bytes(engine, demo_dir, tmp_path):
    from dancetomusic.builder.pipeline import build
    from dancetomusic.builder.settings import BuildSettings
    from dancetomusic.builder.sources import read_folder

    (tmp_path / "videos").mkdir()
    small_copy(demo_dir / "steps_128bpm.mp4", tmp_path / "videos" / "steps.mp4", seconds=4.1)
    sections = read_folder(tmp_path / "videos")
    settings = BuildSettings(max_seq_len=2.0, separator="hpss")
    contents = []
    with open_engine("serial") as here:
        for name, workers in (("ray", engine), ("here", here)):
            summary = build(sections, tmp_path / name, settings, workers)
            assert summary.clips == {"accepted": 2}
    for output in (tmp_path / "ray", tmp_path / "here"):
        files = sorted(file for file in output.rglob("*") if file.name != ".lock")
        contents.append({f.relative_to(output): f.read_bytes() for f in files if f.is_file()})
    assert contents[0] == contents[1]
