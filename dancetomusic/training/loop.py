"""The training loop: a task says what is learned from what, the loop does the rest.

All randomness is a function of the seed, the step and the index of a sample in the batch, so a
resumed run is exactly what it would have been without the stop, and two processes do what one
would do with the double batch.
"""

from __future__ import annotations

import json
import math
import signal
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dancetomusic.config import config_to_dict
from dancetomusic.errors import CheckpointError, TrainingError
from dancetomusic.io.atomic import atomic_output, make_directory
from dancetomusic.training.config import LoopConfig
from dancetomusic.training.dataset import load_batches, tensors_of_batch, to_device
from dancetomusic.training.distributed import DistributedContext, distributed_context
from dancetomusic.training.ema import EMA
from dancetomusic.training.logger import Logger
from dancetomusic.training.progress import TrainingProgress, show_progress
from dancetomusic.training.resume import RESUME_FILE, read_resume, write_resume
from dancetomusic.training.task import ScheduledOptimizer, TrainingTask

LOG_FILE = "log.jsonl"
NON_FINITE_FILE = "non_finite_batch_{rank}.safetensors"


def run_training(
    make: Callable[[DistributedContext], TrainingTask], config: LoopConfig, output: Path | str
) -> None:
    """Make a task and train until the last step, or until the validation loss stops falling.

    ``output`` receives the checkpoint, ``resume.pt``, ``log.jsonl`` (a line for each logged step
    and each validation) and TensorBoard's files. A stopped run resumes from its resume file; a
    finished one does nothing, unless ``max_steps`` was raised. SIGTERM saves after the current
    step and exits with 143. Under ``torchrun`` all processes train together.

    Rank 0 makes the task before the others, which then find on disk what it prepared there.

    Raises:
        ConfigError: If there is no such device.
        CheckpointError: If the resume file is damaged, or was written with other settings.
        TrainingError: If a loss is not finite, or the batch does not fit in memory.
        DanceToMusicError: Whatever ``make`` finds wrong with the data.
    """
    directory = Path(output)
    with distributed_context(config.device) as context:
        torch.set_num_threads(config.threads)
        torch.manual_seed(config.seed)
        with context.rank_zero_first():
            make_directory(directory)
            task = make(context)
        _TrainingRun(task, directory, context).train()


class _StopRequest:
    """Notes a SIGTERM, so that the run can save and end after the current step."""

    def __init__(self) -> None:
        self.requested = False
        self._before: Any = None

    def __enter__(self) -> _StopRequest:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGTERM, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)

    def _note(self, *_: object) -> None:
        self.requested = True


class _TrainingRun:
    def __init__(self, task: TrainingTask, output: Path, context: DistributedContext) -> None:
        self.task, self.output, self.context = task, output, context
        self.config = config = task.config
        samples = config.batch_size * config.accumulate * context.world_size
        self.steps = config.max_steps
        if config.epochs is not None:
            self.steps = config.epochs * math.ceil(task.data.epoch_size / samples)
        weights = [weight for each in task.optimizers.values() for weight in each.weights]
        self.ema = EMA(weights, config.ema_decay)
        self.best, self.stale = math.inf, 0
        self.done = 0
        self.position: dict[str, int] = {}

    def train(self) -> None:
        config, context = self.config, self.context
        self._resume()
        logger = Logger(
            self.output if context.is_rank_zero and not self._is_over() else None,
            self.done,
            tensorboard=config.tensorboard,
            wandb=config.wandb,
        )
        with (
            _StopRequest() as stop,
            show_progress(self.done, self.steps, shown=context.is_rank_zero) as progress,
            closing(self._batches()) as batches,
        ):
            for line in filter(None, (*self.task.notes, logger.problem)):
                progress.print(line)
            while not self._is_over():
                if stop.requested:
                    self._save()
                    raise SystemExit(128 + signal.SIGTERM)
                values = self._step(self.done, batches)
                self.done += 1
                progress.advance(self.done)
                last = self.done == self.steps
                if self.done % config.log_every == 0 or self.done == 1 or last:
                    self._log(values, progress, logger)
                if self.done % config.validate_every == 0 or last:
                    self._validate(progress, logger)
                if self.done % config.save_every == 0 or self._is_over():
                    self._save()
        logger.close()

    def _batches(self) -> Generator[tuple[Any, dict[str, int]]]:
        """The batches of this process from the current step on, ``accumulate`` for each step."""
        size, count = self.config.batch_size, self.config.accumulate
        first = self.context.rank * count * size
        keys = [
            (step, range(first + n * size, first + (n + 1) * size))
            for step in range(self.done, self.steps)
            for n in range(count)
        ]
        return load_batches(self.task.data, keys, self.config.num_workers)

    def _is_over(self) -> bool:
        return self.done >= self.steps or 0 < self.config.patience <= self.stale

    def _step(self, step: int, batches: Iterator[tuple[Any, dict[str, int]]]) -> dict[str, float]:
        """Step every optimiser whose turn it is; gives losses, gradient norms and rates."""
        self._seed(step, self.context.rank)
        self.task.begin(step)
        for module in self.task.modules.values():
            module.train()
        try:
            taken = []
            for _ in range(self.config.accumulate):
                batch, self.position = next(batches)
                taken.append(to_device(batch, self.context.device))
            values: dict[str, float] = {}
            for name, optimizer in self.task.optimizers.items():
                if step % optimizer.every == 0:
                    prefix = f"{name}/" if len(self.task.optimizers) > 1 else ""
                    found = self._optimize(name, optimizer, taken, step)
                    values |= {prefix + key: value for key, value in found.items()}
        except (RuntimeError, MemoryError) as error:
            if not _is_out_of_memory(error):
                raise
            problem = str(error).strip().splitlines() or ["memory is full"]
            raise TrainingError(
                f"a batch of {self.config.batch_size} does not fit in memory ({problem[0][:120]})",
                "Halve batch_size and double accumulate, which gives the same steps.",
            ) from error
        self.ema.update(step)
        self._average_buffers()
        return values

    def _optimize(
        self, name: str, optimizer: ScheduledOptimizer, batches: list[Any], step: int
    ) -> dict[str, float]:
        """Gradients over all batches of all processes, and one step of the optimiser."""
        for other in self.task.optimizers.values():
            other.optimizer.zero_grad(set_to_none=True)
        # Sum of weighted gradients and losses over the batches of this process.
        total_weight = 0.0
        terms: dict[str, Tensor] = {}
        for batch in batches:
            with self._precision():
                losses = self.task.losses(name, batch, step)
            weight = self.task.weight(batch)
            total_weight += weight
            (losses["total"] * weight).backward()
            for key, value in losses.items():
                terms[key] = terms.get(key, 0.0) + value.detach().float() * weight
        weights = optimizer.weights
        for parameter in weights:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        gradients = [parameter.grad for parameter in weights if parameter.grad is not None]
        sums = torch.stack([*terms.values(), torch.tensor(total_weight).to(self.context.device)])
        # Over all processes, in one message; then divided by the sum of weights.
        if self.context.world_size > 1:
            flat = self.context.all_reduce(torch.cat([sums, *(g.flatten() for g in gradients)]))
            sums, *parts = flat.split([len(sums), *(g.numel() for g in gradients)])
            for gradient, part in zip(gradients, parts, strict=True):
                gradient.copy_(part.view_as(gradient))
        torch._foreach_div_(gradients, sums[-1])
        norm = nn.utils.clip_grad_norm_(weights, optimizer.clip_norm or math.inf)
        numbers = torch.cat([sums[:-1] / sums[-1], norm[None]]).tolist()
        values = dict(zip([*terms, "gradient_norm"], numbers, strict=True))
        if not all(math.isfinite(number) for number in numbers):
            self._refuse(values, batches, step)
        rate = self.task.rate(optimizer, step, self.steps)
        for part in optimizer.optimizer.param_groups:
            part["lr"] = rate * part.get("scale", 1.0)
        optimizer.optimizer.step()
        return {**values, "rate": rate}

    def _refuse(self, values: dict[str, float], batches: list[Any], step: int) -> None:
        from safetensors.torch import save_file

        file = self.output / NON_FINITE_FILE.format(rank=self.context.rank)
        tensors = {
            f"{number}.{name}": tensor.detach().cpu().contiguous()
            for number, batch in enumerate(batches)
            for name, tensor in tensors_of_batch(batch).items()
        }
        with atomic_output(file) as temporary:
            save_file(tensors, str(temporary))
        found = ", ".join(f"{k} {v:g}" for k, v in values.items() if not math.isfinite(v))
        raise TrainingError(
            f"step {step + 1} is not finite ({found}); its batch is in {file}",
            "Look at the batch; if it is sound, lower learning_rate or set bf16: false.",
        )

    def _precision(self) -> AbstractContextManager[Any]:
        kind = self.context.device.type
        wanted = kind == "cuda" if self.config.bf16 is None else self.config.bf16
        return torch.autocast(kind, torch.bfloat16, enabled=wanted)

    def _seed(self, *numbers: int) -> None:
        """Seed torch's generator, which dropout uses."""
        words = np.random.SeedSequence([self.config.seed, *numbers]).generate_state(2)
        torch.manual_seed(int(words[0]) << 31 | int(words[1]) >> 1)

    @torch.no_grad()
    def _average_buffers(self) -> None:
        """Statistics of the data, such as codebooks, become the mean over the processes."""
        if self.context.world_size > 1:
            for module in self.task.modules.values():
                for buffer in module.buffers():
                    if buffer.is_floating_point():
                        self.context.all_reduce(buffer).div_(self.context.world_size)

    def _log(self, values: dict[str, float], progress: TrainingProgress, logger: Logger) -> None:
        if self.context.is_rank_zero:
            self._write_line({"step": self.done, **values})
            logger.scalars({f"train/{name}": value for name, value in values.items()}, self.done)
            progress.print(f"step {self.done} {_text(values)} ({progress.pace(self.done)})")

    def _validate(self, progress: TrainingProgress, logger: Logger) -> None:
        """Validate the averaged weights, write them if they are the best, and count the others."""
        loss = torch.zeros(1, device=self.context.device, dtype=torch.float64)
        for module in self.task.modules.values():
            module.eval()
        if self.context.is_rank_zero:
            self._seed(self.done, 2**31)
            with self.ema.applied(), torch.no_grad():
                with self._precision():
                    metrics = self.task.validate()
                if logger.is_open:
                    metrics = metrics | self.task.log_samples(logger, self.done)
                loss[0] = metrics.get("loss", -math.inf)
                if loss[0] < self.best or "loss" not in metrics or not self.config.keep_best:
                    self.task.write(self.output, self._metadata(metrics))
            logger.scalars({f"validation/{name}": v for name, v in metrics.items()}, self.done)
            self._write_line({"step": self.done, "validation": metrics})
            if metrics:
                progress.print(f"step {self.done} validation {_text(metrics)}")
        found = float(self.context.all_reduce(loss))
        if found < self.best:
            self.best, self.stale = found, 0
        elif found > -math.inf:
            self.stale += 1

    def _metadata(self, metrics: dict[str, float]) -> dict[str, Any]:
        return {
            "seed": self.config.seed,
            "steps": self.done,
            "processes": self.context.world_size,
            "data": self.task.data.content_hash,
            "metrics": metrics,
            "training": config_to_dict(self.config),
        }

    def _write_line(self, values: dict[str, Any]) -> None:
        with (self.output / LOG_FILE).open("a", encoding="utf-8") as log:
            log.write(json.dumps(values) + "\n")

    def _settings(self) -> dict[str, Any]:
        """What must be the same in a resumed run."""
        return {
            **config_to_dict(self.config),
            "data": self.task.data.content_hash,
            "processes": self.context.world_size,
        }

    def _save(self) -> None:
        own = self.position
        values = torch.tensor(list(own.values()), dtype=torch.int64)
        positions = self.context.all_gather(values) if own else [values] * self.context.world_size
        if not self.context.is_rank_zero:
            return
        task = self.task
        state = {
            "step": self.done,
            "best": self.best,
            "stale": self.stale,
            "modules": {name: _tensors_of(part) for name, part in task.modules.items()},
            "optimizers": {name: o.optimizer.state_dict() for name, o in task.optimizers.items()},
            "average": self.ema.averages,
            "positions": [dict(zip(own, each.tolist(), strict=True)) for each in positions],
        }
        write_resume(self.output / RESUME_FILE, self._settings(), state)

    def _resume(self) -> None:
        file, task = self.output / RESUME_FILE, self.task
        state = read_resume(file, self._settings())
        if state is None:
            if self.context.is_rank_zero:
                (self.output / LOG_FILE).unlink(missing_ok=True)
            return
        try:
            for name, module in task.modules.items():
                ours = _tensors_of(module)
                if ours.keys() != state["modules"][name].keys():
                    raise KeyError(f"{name} has other tensors")
                with torch.no_grad():
                    for key, tensor in ours.items():
                        tensor.copy_(state["modules"][name][key])
            for name, optimizer in task.optimizers.items():
                optimizer.optimizer.load_state_dict(state["optimizers"][name])
            self.ema.load(state["average"])
        except (KeyError, ValueError, RuntimeError) as error:
            raise CheckpointError(
                f"{file} does not fit the model ({str(error).splitlines()[0]})",
                "Install the package version that wrote it, or remove it to start again.",
            ) from error
        self.position = state["positions"][self.context.rank]
        task.data.load_state_dict(self.position)
        self.done, self.best, self.stale = state["step"], state["best"], state["stale"]
        if self.context.is_rank_zero:
            _drop_lines_after(self.output / LOG_FILE, self.done)


def _text(values: dict[str, float]) -> str:
    return " ".join(f"{name} {value:.4g}" for name, value in values.items())


def _tensors_of(module: nn.Module) -> dict[str, Tensor]:
    """Weights and buffers, also those that no checkpoint holds."""
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


def _is_out_of_memory(error: Exception) -> bool:
    """Whether torch (on a GPU or on the processor) or numpy found no memory."""
    known = ("not enough memory", "can't allocate memory", "Cannot allocate memory")
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(
        words in str(error) for words in known
    )


def _drop_lines_after(log: Path, step: int) -> None:
    """Drop the lines of a log that were written after a step, and one that was cut off."""
    if not log.is_file():
        return
    kept = []
    for line in log.read_text(encoding="utf-8").splitlines():
        try:
            if json.loads(line)["step"] > step:
                break
        except ValueError:
            break
        kept.append(line + "\n")
    with atomic_output(log) as temporary:
        temporary.write_text("".join(kept), encoding="utf-8")
