"""The one training loop: a recipe says what is learned from what, the loop does the rest.

All that is random is a function of the seed, the step and the place of an example in the batch,
so a run that was killed goes on exactly where it was, and two processes do what one would do
with the double batch.
"""

from __future__ import annotations

import dataclasses
import json
import math
import signal
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from dancetomusic.config import config_to_dict
from dancetomusic.errors import CheckpointError, ConfigError, TrainingError
from dancetomusic.io.atomic import atomic_output
from dancetomusic.training.distributed import World, open_world
from dancetomusic.training.ema import WeightAverage
from dancetomusic.training.logger import Board
from dancetomusic.training.progress import Progress, show_progress
from dancetomusic.training.resume import RESUME_FILE, read_resume, write_resume
from dancetomusic.training.schedules import cosine_rate

LOG_FILE = "log.jsonl"
NON_FINITE_FILE = "non_finite_batch_{rank}.safetensors"

B = TypeVar("B")
"""A batch: a dataclass of tensors, the first axis of each being the place in the batch."""


@dataclass(frozen=True)
class LoopConfig:
    """What every recipe has; each sets its own defaults and adds its own keys.

    Raises:
        ConfigError: If a value is out of range.
    """

    max_steps: int = 1000
    """Optimiser steps."""
    epochs: int | None = None
    """Passes over the data, in place of ``max_steps``."""
    batch_size: int = 8
    """Examples that each process takes at once."""
    accumulate: int = 1
    """Batches whose gradients make one step: as good as a larger batch, in less memory."""
    learning_rate: float = 1e-3
    """The peak of warm-up and cosine."""
    warmup_steps: int = 100
    weight_decay: float = 0.01
    """Of AdamW."""
    clip_norm: float = 1.0
    """Largest norm of the gradient; 0 for any."""
    ema_decay: float = 0.0
    """Of averaged weights, which are then validated and written; 0 for none."""
    bf16: bool | None = None
    """Compute in bfloat16 where that is safe; by default on a GPU alone."""
    device: str = "auto"
    """``auto``, ``cpu``, ``cuda`` or ``cuda:N``."""
    threads: int = 1
    """Processor threads of each process."""
    log_every: int = 50
    """Steps between lines of the log."""
    validate_every: int = 250
    """Steps between validations, each of which may write the checkpoint."""
    save_every: int = 250
    """Steps between resume files."""
    patience: int = 0
    """Validations without a lower loss after which training stops; 0 for never."""
    keep_best: bool = True
    """Write a checkpoint only where the validation loss is the lowest so far."""
    tensorboard: bool = True
    """Write event files for TensorBoard into the run's directory."""
    wandb: bool = False
    """Send curves, sounds and pictures to Weights & Biases, too, if it is installed."""
    seed: int = 0

    def __post_init__(self) -> None:
        counts = "max_steps batch_size accumulate threads log_every validate_every save_every"
        for key in counts.split():
            if getattr(self, key) < 1:
                raise ConfigError(f"{key} is {getattr(self, key)}", "Give at least 1.")
        if self.epochs is not None and self.epochs < 1:
            raise ConfigError(f"epochs is {self.epochs}", "Give at least 1, or max_steps.")
        if not self.learning_rate > 0:
            raise ConfigError(f"learning_rate is {self.learning_rate}", "Give more than 0.")
        for key in ("warmup_steps", "weight_decay", "clip_norm", "patience", "seed"):
            if not getattr(self, key) >= 0:
                raise ConfigError(f"{key} is {getattr(self, key)}", "Give 0 or more.")
        if self.seed >= 2**64:  # more than torch takes
            raise ConfigError(f"seed is {self.seed}", f"Give 0 to {2**64 - 1}.")
        if not 0 <= self.ema_decay < 1:
            raise ConfigError(f"ema_decay is {self.ema_decay}", "Give a share in [0, 1).")


@dataclass(frozen=True)
class Group:
    """Weights that one optimiser moves, and when.

    Attributes:
        optimizer: Moves them; the loop sets its rate, times ``scale`` where a parameter group
            has one.
        rate: The peak of its schedule.
        every: It moves them at every ``every``-th step.
        clip_norm: Largest norm of their gradient; 0 for any.
    """

    optimizer: torch.optim.Optimizer
    rate: float
    every: int = 1
    clip_norm: float = 1.0

    @property
    def weights(self) -> list[nn.Parameter]:
        """All of them, in the optimiser's order."""
        return [weight for part in self.optimizer.param_groups for weight in part["params"]]


class Recipe(ABC):
    """What is particular to one model: data, losses, and what is written.

    A recipe reads its data when it is made, and refuses bad data then, before any step.

    Attributes:
        config: Its settings.
        modules: What changes in training, by name. What is frozen is no concern of the loop.
        groups: Optimisers by name, stepped one after the other at each step.
        data_hash: Digest of the data, written into the checkpoint.
        epoch_size: Examples in a pass over the data.
    """

    config: LoopConfig
    modules: Mapping[str, nn.Module]
    groups: Mapping[str, Group]
    data_hash: str
    epoch_size: int

    @abstractmethod
    def batch(self, step: int, places: range) -> Any:
        """The examples at some places of the batch of a step, on the CPU.

        What is drawn depends on the seed, the step and the place alone (``self.rng``), or comes
        from a stream whose position ``state_dict`` tells.
        """

    @abstractmethod
    def losses(self, group: str, batch: Any, step: int) -> dict[str, Tensor]:
        """What a group of weights is to lower, as means over the batch, which is on the device.

        ``total`` is what is lowered, all other entries are shown.
        """

    def weight(self, batch: Any) -> float:
        """What the means over this batch are worth among other batches of the same step."""
        return 1.0

    def rate(self, group: Group, step: int, steps: int) -> float:
        """Learning rate of a group at a step of all ``steps``: warm-up, and a cosine to 0."""
        return cosine_rate(group.rate, step, steps, self.config.warmup_steps)

    def begin(self, step: int) -> None:
        """Called before each step."""
        return

    def validate(self) -> dict[str, float]:
        """Metrics on held-out data, the lower ``loss`` the better; always on the same examples.

        Without a ``loss`` the last weights count as the best.
        """
        return {}

    def show(self, board: Board, step: int) -> dict[str, float]:
        """Put sounds and pictures on the board; give metrics of what was made, such as music fit.

        Called after ``validate``, if there is a board.
        """
        return {}

    @abstractmethod
    def write(self, directory: Path, metadata: dict[str, Any]) -> None:
        """Write the checkpoint."""

    def state_dict(self) -> dict[str, int]:
        """Position in the data, where it does not follow from the step."""
        return {}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on from what ``state_dict`` gave."""
        return

    def rng(self, step: int, place: int) -> np.random.Generator:
        """What is random about one example."""
        return np.random.default_rng([self.config.seed, step, place])


def run_recipe(make: Callable[[World], Recipe], config: LoopConfig, output: Path | str) -> None:
    """Make a recipe and train until the last step, or until the validation loss stops falling.

    ``output`` receives the checkpoint, ``resume.pt``, ``log.jsonl`` (a line for each logged step
    and each validation) and TensorBoard's files. A run that was stopped goes on from its resume
    file; one that is finished does nothing, unless ``max_steps`` was raised. SIGTERM saves after
    the step in hand and exits with 143. Under ``torchrun`` all processes train together.

    Args:
        make: Makes the recipe; the first process does before the others, which then find on
            disk what it prepared there.
        config: The recipe's settings.
        output: Directory of the run.

    Raises:
        ConfigError: If there is no such device.
        CheckpointError: If there is a resume file, and it is damaged or of another recipe.
        TrainingError: If a loss is not finite, or the batch does not fit in memory.
        DanceToMusicError: Whatever ``make`` finds wrong with the data.
    """
    directory = Path(output)
    with open_world(config.device) as world:
        torch.set_num_threads(config.threads)
        torch.manual_seed(config.seed)
        with world.first_goes_first():
            directory.mkdir(parents=True, exist_ok=True)
            recipe = make(world)
        _Run(recipe, directory, world).train()


class _StopRequest:
    """Takes note of SIGTERM, so that the run can save and end after the step in hand."""

    def __init__(self) -> None:
        self.asked = False
        self._before: Any = None

    def __enter__(self) -> _StopRequest:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGTERM, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)

    def _note(self, *_: object) -> None:
        self.asked = True


class _Run:
    def __init__(self, recipe: Recipe, output: Path, world: World) -> None:
        self.recipe, self.output, self.world = recipe, output, world
        self.config = config = recipe.config
        examples = config.batch_size * config.accumulate * world.size
        self.steps = config.max_steps
        if config.epochs is not None:
            self.steps = config.epochs * math.ceil(recipe.epoch_size / examples)
        weights = [weight for group in recipe.groups.values() for weight in group.weights]
        self.average = WeightAverage(weights, config.ema_decay)
        self.best, self.stale = math.inf, 0
        self.done = 0

    def train(self) -> None:
        config, world = self.config, self.world
        self._resume()
        board = Board(
            self.output if world.is_first and not self._is_over() else None,
            self.done,
            tensorboard=config.tensorboard,
            wandb=config.wandb,
        )
        with (
            _StopRequest() as stop,
            show_progress(self.done, self.steps, shown=world.is_first) as progress,
        ):
            if board.problem:
                progress.say(board.problem)
            while not self._is_over():
                if stop.asked:
                    self._save()
                    raise SystemExit(128 + signal.SIGTERM)
                seen = self._step(self.done)
                self.done += 1
                progress.advance(self.done)
                last = self.done == self.steps
                if self.done % config.log_every == 0 or self.done == 1 or last:
                    self._log(seen, progress, board)
                if self.done % config.validate_every == 0 or last:
                    self._validate(progress, board)
                if self.done % config.save_every == 0 or self._is_over():
                    self._save()
        board.close()

    def _is_over(self) -> bool:
        return self.done >= self.steps or 0 < self.config.patience <= self.stale

    def _step(self, step: int) -> dict[str, float]:
        """One step of every group whose turn it is; losses, norms and rates."""
        self._seed(step, self.world.rank)
        self.recipe.begin(step)
        for module in self.recipe.modules.values():
            module.train()
        try:
            batches = [
                _on_device(self.recipe.batch(step, places), self.world.device)
                for places in self._places()
            ]
            seen: dict[str, float] = {}
            for name, group in self.recipe.groups.items():
                if step % group.every == 0:
                    prefix = f"{name}/" if len(self.recipe.groups) > 1 else ""
                    found = self._move(name, group, batches, step)
                    seen |= {prefix + key: value for key, value in found.items()}
        except (RuntimeError, MemoryError) as error:
            if not _is_out_of_memory(error):
                raise
            problem = str(error).strip().splitlines() or ["memory is full"]
            raise TrainingError(
                f"a batch of {self.config.batch_size} does not fit in memory ({problem[0][:120]})",
                "Halve batch_size and double accumulate, which gives the same steps.",
            ) from error
        self.average.update(step)
        self._agree_on_buffers()
        return seen

    def _move(self, name: str, group: Group, batches: list[Any], step: int) -> dict[str, float]:
        """Gradients over all batches of all processes, and one step of the optimiser."""
        for other in self.recipe.groups.values():
            other.optimizer.zero_grad(set_to_none=True)
        worth = 0.0
        terms: dict[str, Tensor] = {}
        for batch in batches:
            with self._precision():
                losses = self.recipe.losses(name, batch, step)
            weight = self.recipe.weight(batch)
            worth += weight
            (losses["total"] * weight).backward()
            for key, value in losses.items():
                terms[key] = terms.get(key, 0.0) + value.detach().float() * weight
        weights = group.weights
        for parameter in weights:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        gradients = [parameter.grad for parameter in weights if parameter.grad is not None]
        sums = torch.stack([*terms.values(), torch.tensor(worth, device=self.world.device)])
        if self.world.size > 1:
            flat = self.world.add_up(torch.cat([sums, *(g.flatten() for g in gradients)]))
            sums, *parts = flat.split([len(sums), *(g.numel() for g in gradients)])
            for gradient, part in zip(gradients, parts, strict=True):
                gradient.copy_(part.view_as(gradient))
        torch._foreach_div_(gradients, sums[-1])
        norm = nn.utils.clip_grad_norm_(weights, group.clip_norm or math.inf)
        values = torch.cat([sums[:-1] / sums[-1], norm[None]]).tolist()
        seen = dict(zip([*terms, "gradient_norm"], values, strict=True))
        if not all(math.isfinite(value) for value in values):
            self._refuse(seen, batches, step)
        rate = self.recipe.rate(group, step, self.steps)
        for part in group.optimizer.param_groups:
            part["lr"] = rate * part.get("scale", 1.0)
        group.optimizer.step()
        return {**seen, "rate": rate}

    def _refuse(self, seen: dict[str, float], batches: list[Any], step: int) -> None:
        from safetensors.torch import save_file

        file = self.output / NON_FINITE_FILE.format(rank=self.world.rank)
        tensors = {
            f"{number}.{name}": tensor.detach().cpu().contiguous()
            for number, batch in enumerate(batches)
            for name, tensor in _tensors_of_batch(batch).items()
        }
        with atomic_output(file) as temporary:
            save_file(tensors, str(temporary))
        found = ", ".join(f"{k} {v:g}" for k, v in seen.items() if not math.isfinite(v))
        raise TrainingError(
            f"step {step + 1} is not finite ({found}); its batch is in {file}",
            "Look at the batch; if it is sound, lower learning_rate or set bf16: false.",
        )

    def _places(self) -> list[range]:
        """Places in the step's batch that this process fills, batch by batch."""
        size, count = self.config.batch_size, self.config.accumulate
        first = self.world.rank * count * size
        return [range(first + n * size, first + (n + 1) * size) for n in range(count)]

    def _precision(self) -> AbstractContextManager[Any]:
        kind = self.world.device.type
        wanted = kind == "cuda" if self.config.bf16 is None else self.config.bf16
        return torch.autocast(kind, torch.bfloat16, enabled=wanted)

    def _seed(self, *numbers: int) -> None:
        """Fix what torch draws next, such as dropout."""
        words = np.random.SeedSequence([self.config.seed, *numbers]).generate_state(2)
        torch.manual_seed(int(words[0]) << 31 | int(words[1]) >> 1)

    @torch.no_grad()
    def _agree_on_buffers(self) -> None:
        """Statistics of the data, such as codebooks, become the mean over the processes."""
        if self.world.size > 1:
            for module in self.recipe.modules.values():
                for buffer in module.buffers():
                    if buffer.is_floating_point():
                        self.world.add_up(buffer).div_(self.world.size)

    def _log(self, seen: dict[str, float], progress: Progress, board: Board) -> None:
        if not self.world.is_first:
            return
        self._write_line({"step": self.done, **seen})
        board.curves({f"train/{name}": value for name, value in seen.items()}, self.done)
        terms = " ".join(f"{name} {value:.4g}" for name, value in seen.items())
        progress.say(f"step {self.done} {terms} ({progress.pace(self.done)})")

    def _validate(self, progress: Progress, board: Board) -> None:
        """Validate the averaged weights, keep them if they are the best, and count the others."""
        loss = torch.zeros(1, device=self.world.device, dtype=torch.float64)
        for module in self.recipe.modules.values():
            module.eval()
        if self.world.is_first:
            self._seed(self.done, 2**31)
            with self.average.in_place(), torch.no_grad():
                with self._precision():
                    metrics = self.recipe.validate()
                if board.is_open:
                    metrics = metrics | self.recipe.show(board, self.done)
                loss[0] = metrics.get("loss", -math.inf)
                if loss[0] < self.best or "loss" not in metrics or not self.config.keep_best:
                    self.recipe.write(self.output, self._metadata(metrics))
            board.curves({f"validation/{name}": v for name, v in metrics.items()}, self.done)
            self._write_line({"step": self.done, "validation": metrics})
            if metrics:
                terms = " ".join(f"{name} {value:.4g}" for name, value in metrics.items())
                progress.say(f"step {self.done} validation {terms}")
        found = float(self.world.add_up(loss))
        if found < self.best:
            self.best, self.stale = found, 0
        elif found > -math.inf:
            self.stale += 1

    def _metadata(self, metrics: dict[str, float]) -> dict[str, Any]:
        return {
            "seed": self.config.seed,
            "steps": self.done,
            "processes": self.world.size,
            "data": self.recipe.data_hash,
            "metrics": metrics,
            "training": config_to_dict(self.config),
        }

    def _write_line(self, values: dict[str, Any]) -> None:
        with (self.output / LOG_FILE).open("a", encoding="utf-8") as log:
            log.write(json.dumps(values) + "\n")

    def _recipe_values(self) -> dict[str, Any]:
        """What must not change when a run goes on."""
        return {
            **config_to_dict(self.config),
            "data": self.recipe.data_hash,
            "processes": self.world.size,
        }

    def _save(self) -> None:
        own = self.recipe.state_dict()
        values = torch.tensor(list(own.values()), dtype=torch.int64)
        positions = self.world.gather(values) if own else [values] * self.world.size
        if not self.world.is_first:
            return
        recipe = self.recipe
        state = {
            "step": self.done,
            "best": self.best,
            "stale": self.stale,
            "modules": {name: _tensors_of(part) for name, part in recipe.modules.items()},
            "optimizers": {name: g.optimizer.state_dict() for name, g in recipe.groups.items()},
            "average": self.average.state_dict(),
            "positions": [dict(zip(own, each.tolist(), strict=True)) for each in positions],
        }
        write_resume(self.output / RESUME_FILE, self._recipe_values(), state)

    def _resume(self) -> None:
        file, recipe = self.output / RESUME_FILE, self.recipe
        state = read_resume(file, self._recipe_values())
        if state is None:
            if self.world.is_first:
                (self.output / LOG_FILE).unlink(missing_ok=True)
            return
        try:
            for name, module in recipe.modules.items():
                ours = _tensors_of(module)
                if ours.keys() != state["modules"][name].keys():
                    raise KeyError(f"{name} has other tensors")
                with torch.no_grad():
                    for key, tensor in ours.items():
                        tensor.copy_(state["modules"][name][key])
            for name, group in recipe.groups.items():
                group.optimizer.load_state_dict(state["optimizers"][name])
            self.average.load_state_dict(state["average"])
        except (KeyError, ValueError, RuntimeError) as error:
            raise CheckpointError(
                f"{file} does not fit the model ({str(error).splitlines()[0]})",
                "Install the package version that wrote it, or remove it to start anew.",
            ) from error
        recipe.load_state_dict(state["positions"][self.world.rank])
        self.done, self.best, self.stale = state["step"], state["best"], state["stale"]
        if self.world.is_first:
            _forget_after(self.output / LOG_FILE, self.done)


def _tensors_of(module: nn.Module) -> dict[str, Tensor]:
    """Weights and buffers, also those that no checkpoint holds."""
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


def _tensors_of_batch(batch: Any) -> dict[str, Tensor]:
    values = {field.name: getattr(batch, field.name) for field in fields(batch)}
    return {name: value for name, value in values.items() if isinstance(value, Tensor)}


def _on_device(batch: B, device: torch.device) -> B:
    moved = {name: tensor.to(device) for name, tensor in _tensors_of_batch(batch).items()}
    return dataclasses.replace(batch, **moved)  # type: ignore[type-var]


def _is_out_of_memory(error: Exception) -> bool:
    """Whether torch (on a GPU or on the processor) or numpy found no memory."""
    known = ("not enough memory", "can't allocate memory", "Cannot allocate memory")
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(
        words in str(error) for words in known
    )


def _forget_after(log: Path, step: int) -> None:
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
