"""The loop itself, on a task that fits a line."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import nn

from dancetomusic.errors import CheckpointError, ConfigError, InputError, TrainingError
from dancetomusic.training.config import LoopConfig
from dancetomusic.training.dataset import TrainingSet
from dancetomusic.training.distributed import distributed_context
from dancetomusic.training.ema import EMA
from dancetomusic.training.loop import LOG_FILE, run_training
from dancetomusic.training.resume import RESUME_FILE
from dancetomusic.training.schedules import cosine_rate
from dancetomusic.training.task import ScheduledOptimizer, TrainingTask

CONFIG = LoopConfig(
    max_steps=12, batch_size=4, learning_rate=0.1, warmup_steps=2, log_every=1,
    validate_every=4, save_every=3, device="cpu", tensorboard=False, num_workers=0,
)  # fmt: skip


@dataclass(frozen=True)
class Points:
    x: torch.Tensor
    y: torch.Tensor


class PointSet(TrainingSet):
    batch_type = Points
    content_hash, epoch_size = "line", 40

    def __init__(self, seed, spoil_at=None):
        self.seed, self.spoil_at, self.seen = seed, spoil_at, []

    def sample(self, rng, step):
        x = rng.normal(size=1).astype(np.float32)
        return x, 2 * x + 1

    def batch(self, step, indices):
        self.seen.append(list(indices))
        points = super().batch(step, indices)
        if step == self.spoil_at:
            points.x[0] = np.nan
        return points


class Line(TrainingTask):
    """Fits y = 2 x + noise with dropout; a second optimiser moves the offset every third step."""

    def __init__(
        self, config, context=None, validation=None, spoil_at=None, stop_at=None, dropout=0.1
    ):
        self.config, self.dropout = config, dropout
        self.slope, self.offset = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
        nn.init.zeros_(self.slope.weight)
        self.modules = {"slope": self.slope, "offset": self.offset}
        adam, sgd = (
            kind(part.parameters(), lr=1.0)
            for kind, part in ((torch.optim.AdamW, self.slope), (torch.optim.SGD, self.offset))
        )
        self.optimizers = {
            "slope": ScheduledOptimizer(adam, config.learning_rate),
            "offset": ScheduledOptimizer(sgd, 0.01, every=3),
        }
        self.data = PointSet(config.seed, spoil_at)
        self.validation, self.stop_at = validation, stop_at
        self.written = []

    @property
    def seen(self):
        return self.data.seen

    def begin(self, step):
        if step == self.stop_at:
            raise KeyboardInterrupt

    def losses(self, optimizer, batch, step):
        dropped = nn.functional.dropout(self.slope(batch.x), self.dropout, self.slope.training)
        error = dropped + self.offset(torch.ones_like(batch.x)) - batch.y
        return {"total": error.square().mean()}

    def validate(self):
        return {} if self.validation is None else {"loss": self.validation.pop(0)}

    def write(self, directory, metadata):
        self.written.append((metadata["steps"], self.slope.weight.item()))
        (directory / "line.json").write_text(json.dumps(metadata))


def run(output, config=CONFIG, **options):
    made = []

    def make(context):
        made.append(Line(config, context, **options))
        return made[0]

    run_training(make, config, output)
    return made[0]


def log_of(output):
    return [json.loads(line) for line in (output / LOG_FILE).read_text().splitlines()]


def test_it_learns_and_logs_what_it_did(tmp_path):
    line = run(tmp_path, replace(CONFIG, max_steps=80, learning_rate=0.3))
    assert line.slope.weight.item() == pytest.approx(2, abs=0.3)
    log = [entry for entry in log_of(tmp_path) if "validation" not in entry]
    assert [entry["step"] for entry in log] == list(range(1, 81))
    assert log[-1]["slope/total"] < 0.2 * log[0]["slope/total"]
    assert {"slope/gradient_norm", "slope/rate"} <= log[1].keys()
    assert "offset/total" in log[0] and "offset/total" not in log[1]
    metadata = json.loads((tmp_path / "line.json").read_text())
    assert metadata["seed"] == 0 and metadata["data"] == "line"
    assert metadata["training"]["max_steps"] == metadata["steps"] == 80


@pytest.mark.parametrize("stop_at", [1, 5, 10])
def test_a_resumed_run_is_what_it_would_have_been(tmp_path, stop_at):
    config = replace(CONFIG, ema_decay=0.9)
    whole = run(tmp_path / "whole", config)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "parts", config, stop_at=stop_at)
    resumed = run(tmp_path / "parts", config)
    assert torch.equal(whole.slope.weight, resumed.slope.weight)
    assert torch.equal(whole.offset.weight, resumed.offset.weight)
    assert log_of(tmp_path / "whole") == log_of(tmp_path / "parts")
    assert whole.written[-1] == resumed.written[-1]


def test_a_finished_run_does_nothing_more(tmp_path):
    run(tmp_path)
    log = (tmp_path / LOG_FILE).read_bytes()
    again = run(tmp_path)
    assert not again.seen and (tmp_path / LOG_FILE).read_bytes() == log


def test_a_finished_run_is_trained_for_longer(tmp_path):
    run(tmp_path)
    longer = run(tmp_path, replace(CONFIG, max_steps=20))
    assert len(longer.seen) == 8
    assert json.loads((tmp_path / "line.json").read_text())["steps"] == 20
    with pytest.raises(CheckpointError, match="max_steps 20, now 15"):
        run(tmp_path, replace(CONFIG, max_steps=15))


def test_half_the_batch_twice_as_often_resumes(tmp_path):
    config = CONFIG
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, config, stop_at=7)
    resumed = run(tmp_path, replace(config, batch_size=2, accumulate=2))
    assert resumed.seen[:2] == [[0, 1], [2, 3]]
    with pytest.raises(CheckpointError, match="batch_size x accumulate 4, now 8"):
        run(tmp_path, replace(config, batch_size=8))


def test_a_run_that_is_asked_to_end_saves_first(tmp_path):
    """Also where the signal goes to its whole group, as the manager of jobs or services does."""

    def terminate(step):
        if step == 4:
            makers = multiprocessing.active_children()
            assert makers, "no process makes batches"
            for number in (signal.SIGINT, signal.SIGTERM):
                for maker in makers:
                    os.kill(maker.pid, number)
            os.kill(os.getpid(), signal.SIGTERM)

    config = replace(CONFIG, num_workers=1)
    line = Line(config)
    line.begin = terminate
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as end:
        run_training(lambda context: line, config, tmp_path)
    assert end.value.code == 143
    assert signal.getsignal(signal.SIGTERM) is before
    resumed = run(tmp_path)
    assert len(resumed.seen) == CONFIG.max_steps - 5
    whole = run(tmp_path / "whole")
    assert torch.equal(whole.slope.weight, resumed.slope.weight)


def test_a_line_of_the_log_that_was_cut_off_is_dropped(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, stop_at=7)
    with (tmp_path / LOG_FILE).open("a") as log:
        log.write('{"step": 7, "slo')
    run(tmp_path)
    assert [e["step"] for e in log_of(tmp_path) if "validation" not in e] == list(range(1, 13))


def test_other_settings_or_other_data_do_not_resume(tmp_path):
    run(tmp_path)
    with pytest.raises(CheckpointError, match=r"learning_rate 0\.1, now 0\.2"):
        run(tmp_path, replace(CONFIG, learning_rate=0.2))
    run(tmp_path, replace(CONFIG, log_every=5, device="auto"))
    (tmp_path / RESUME_FILE).write_bytes(b"torn")
    with pytest.raises(CheckpointError, match="no intact resume file"):
        run(tmp_path)


def test_accumulated_batches_are_one_large_batch(tmp_path):
    config = replace(CONFIG, max_steps=3)
    large, small = replace(config, batch_size=8), replace(config, accumulate=2)
    one, two = Line(large), Line(small)
    for line in (one, two):
        line.losses = lambda optimizer, batch, step, line=line: {
            "total": (line.slope(batch.x) - batch.y).square().mean()
        }
    run_training(lambda context: one, large, tmp_path / "one")
    run_training(lambda context: two, small, tmp_path / "two")
    assert one.seen[0] == two.seen[0] + two.seen[1] == list(range(8))
    torch.testing.assert_close(one.slope.weight, two.slope.weight)


@pytest.mark.slow(1)
@pytest.mark.parametrize("workers", [1, 2])
def test_workers_change_nothing(tmp_path, workers):
    """Batches are the same, also where a run resumes with other workers in the middle."""
    config = replace(CONFIG, accumulate=2)
    alone = run(tmp_path / "alone", config)
    together = run(tmp_path / "together", replace(config, num_workers=workers))
    assert torch.equal(alone.slope.weight, together.slope.weight)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "parts", replace(config, num_workers=workers), stop_at=7)
    run(tmp_path / "parts", replace(config, num_workers=2))
    assert log_of(tmp_path / "alone") == log_of(tmp_path / "together")
    assert log_of(tmp_path / "alone") == log_of(tmp_path / "parts")


class CountedSet(PointSet):
    """A stream: each sample is the number of those before it."""

    given = 0

    def sample(self, rng, step):
        self.given += 1
        if self.given == 40:
            raise InputError("sample 40 is damaged", "Remove it.")
        x = np.array([self.given / 10], np.float32)
        return x, 2 * x + 1

    def state_dict(self):
        return {"given": self.given}

    def load_state_dict(self, state):
        self.given = state["given"]


@pytest.mark.slow(1)
@pytest.mark.parametrize("workers", [0, 1, 2])
def test_a_stream_resumes_after_the_batches_that_were_used_not_those_made_ahead(tmp_path, workers):
    def start(output, stop_at=None, **changes):
        config = replace(CONFIG, num_workers=workers, max_steps=9, **changes)

        def make(context):
            line = Line(config, stop_at=stop_at)
            line.data = CountedSet(0)
            return line

        run_training(make, config, output)

    start(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        start(tmp_path / "parts", stop_at=5)
    state = torch.load(tmp_path / "parts" / RESUME_FILE, weights_only=True)["state"]
    assert state["positions"] == [{"given": 12}] and state["step"] == 3
    start(tmp_path / "parts")
    assert log_of(tmp_path / "whole") == log_of(tmp_path / "parts")
    with pytest.raises(InputError, match=r"sample 40 is damaged\. Remove it\."):
        start(tmp_path / "long", batch_size=5)


def test_an_epoch_is_a_pass_over_the_data(tmp_path):
    line = run(tmp_path, replace(CONFIG, epochs=2, accumulate=2))
    assert len(line.seen) == 2 * 2 * 5


def test_averaged_weights_are_what_is_written(tmp_path):
    line = run(tmp_path, replace(CONFIG, ema_decay=0.99))
    (steps, written), trained = line.written[-1], line.slope.weight.item()
    assert steps == 12 and 0 < written < trained


def test_early_decay_is_small():
    weight = nn.Parameter(torch.zeros(1))
    average = EMA([weight], 0.999)
    with torch.no_grad():
        weight.fill_(1.0)
    average.update(0)
    assert average.averages[0].item() == pytest.approx(0.9)
    with average.applied():
        assert weight.item() == pytest.approx(0.9)
    assert weight.item() == 1


def test_the_best_is_kept_and_a_plateau_stops(tmp_path):
    config = replace(CONFIG, max_steps=100, validate_every=2, patience=2)
    line = run(tmp_path, config, validation=[3.0, 2.0, 2.5, 2.0, 1.0])
    assert [steps for steps, _ in line.written] == [2, 4]
    assert log_of(tmp_path)[-1] == {"step": 8, "validation": {"loss": 2.0}}
    assert len(line.seen) == 8
    again = run(tmp_path, config, validation=[])
    assert not again.seen


def test_the_last_is_kept_where_that_is_wanted(tmp_path):
    config = replace(CONFIG, max_steps=6, validate_every=2, keep_best=False)
    line = run(tmp_path, config, validation=[3.0, 2.0, 2.5])
    assert [steps for steps, _ in line.written] == [2, 4, 6]


def test_a_loss_that_is_not_finite_stops_with_its_batch(tmp_path):
    from safetensors.numpy import load_file

    with pytest.raises(TrainingError, match=r"step 6 is not finite \(total nan") as caught:
        run(tmp_path, spoil_at=5)
    assert "non_finite_batch_0.safetensors" in str(caught.value)
    saved = load_file(str(tmp_path / "non_finite_batch_0.safetensors"))
    assert set(saved) == {"0.x", "0.y"} and np.isnan(saved["0.x"]).sum() == 1


@pytest.mark.slow
def test_a_batch_too_large_for_memory_is_one_clear_error(tmp_path):
    """The process may use little memory; the batch asks for 64 GiB."""
    code = f"""
import dataclasses, pathlib, torch
from tests.unit.training.test_loop import CONFIG, Line, Points, run_training
from dancetomusic.errors import TrainingError

class Huge(Line):
    def losses(self, optimizer, batch, step):
        return {{"total": self.slope(torch.ones(2**34, 1)).mean()}}

import resource
resource.setrlimit(resource.RLIMIT_AS, (16 * 2**30,) * 2)
try:
    run_training(lambda context: Huge(CONFIG), CONFIG, pathlib.Path({str(tmp_path)!r}))
except TrainingError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.startswith("a batch of 4 does not fit in memory"), done.stderr
    assert "Halve batch_size and double accumulate" in done.stdout


def test_other_errors_of_torch_are_bugs_and_stay(tmp_path):
    line = Line(CONFIG)
    line.losses = lambda optimizer, batch, step: {"total": torch.ones(2, 3) @ torch.ones(2, 3)}
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        run_training(lambda context: line, CONFIG, tmp_path)


def test_tensorboard_gets_curves(tmp_path):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run(tmp_path, replace(CONFIG, tensorboard=True), validation=[3.0, 2.0, 1.0])
    board = events.EventAccumulator(str(tmp_path)).Reload()
    assert {"train/slope/total", "validation/loss"} <= set(board.Tags()["scalars"])
    assert [event.step for event in board.Scalars("validation/loss")] == [4, 8, 12]


def test_without_tensorboard_one_line_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    run(tmp_path, replace(CONFIG, tensorboard=True, max_steps=1))
    assert capsys.readouterr().out.count("pip install 'dancetomusic[train]'") == 1


@pytest.mark.parametrize(
    "values",
    [{"max_steps": 0}, {"batch_size": 0}, {"ema_decay": 1.0}, {"learning_rate": 0.0},
     {"epochs": 0}, {"patience": -1}, {"seed": -1}, {"seed": 2**64},
     {"learning_rate": float("nan")}, {"num_workers": -1}],
)  # fmt: skip
def test_impossible_settings_are_refused(values):
    with pytest.raises(ConfigError):
        replace(CONFIG, **values)


def test_the_rate_rises_and_falls():
    rates = [cosine_rate(1.0, step, 100, 10) for step in range(100)]
    assert np.argmax(rates) == 9 and rates[0] == pytest.approx(0.1) and rates[-1] < 1e-3
    assert cosine_rate(1.0, 0, 10, 0) == 1.0


@pytest.mark.parametrize("device", ["tpu0", "cuda:99", "mps"])
def test_a_device_that_is_not_there_is_refused(device):
    with pytest.raises(ConfigError), distributed_context(device):
        pass


TWO_PROCESSES = """
import sys
from dataclasses import replace
from pathlib import Path
from tests.unit.training.test_loop import TWO, run

run(Path(sys.argv[1]), TWO, validation=[3.0, 2.0], dropout=0.0)
"""
TWO = replace(CONFIG, max_steps=6, batch_size=2, accumulate=2)


@pytest.mark.slow
def test_two_processes_do_what_one_does_with_the_double_batch(tmp_path):
    (tmp_path / "script.py").write_text(TWO_PROCESSES)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    subprocess.run(
        [*command, "--nproc_per_node", "2", str(tmp_path / "script.py"), str(tmp_path / "two")],
        check=True, capture_output=True, stdin=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.getcwd(), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    double = replace(TWO, batch_size=4)
    run(tmp_path / "one", double, validation=[3.0, 2.0], dropout=0.0)
    two, one = log_of(tmp_path / "two"), log_of(tmp_path / "one")
    assert len(two) == len(one) == 8
    for ours, theirs in zip(two, one, strict=True):
        assert ours == {k: pytest.approx(v, rel=1e-4) for k, v in theirs.items()}
    assert json.loads((tmp_path / "two" / "line.json").read_text())["processes"] == 2
