"""``dancetomusic evaluate [TASK]``; the task is ``music`` where none is named."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import ExitStack
from inspect import Parameter
from typing import Any

import typer
from typer.core import TyperGroup

from dancetomusic.cli.engine import EngineName, EngineOption, WorkersOption, open_tasks
from dancetomusic.cli.progress import item_progress
from dancetomusic.evaluation.tasks.registry import TASKS, load_task

DEFAULT_TASK = "music"
_ENGINE_OPTIONS = (
    Parameter(
        "engine_name",
        Parameter.KEYWORD_ONLY,
        default=EngineName.processes,
        annotation=EngineOption,
    ),
    Parameter("workers", Parameter.KEYWORD_ONLY, default=None, annotation=WorkersOption),
)


class _Tasks(TyperGroup):
    """The tasks of the registry; options without a task are those of ``music``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """The arguments, with the task put in front where none is named."""
        if args and args[0] not in {*TASKS, *ctx.help_option_names}:
            args = [DEFAULT_TASK, *args]
        parsed: list[str] = super().parse_args(ctx, args)
        return parsed

    def list_commands(self, ctx: Any) -> list[str]:
        """The names of all tasks."""
        return list(TASKS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of a task, whose module is imported now."""
        if cmd_name not in TASKS:
            return None
        task = typer.Typer(add_completion=False, rich_markup_mode=None)
        task.command(cmd_name)(_on_terminal(load_task(cmd_name)))
        return typer.main.get_command(task)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the list of tasks without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, task.summary) for name, task in TASKS.items()])


evaluate = typer.Typer(
    name="evaluate",
    cls=_Tasks,
    help="Score music (the default task), estimated beats and much else, beside baselines.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def _on_terminal(task: Callable[..., None]) -> Callable[..., None]:
    """A task with a progress bar for its ``on_done`` and options for its ``engine``."""
    signature = inspect.signature(task, eval_str=True)
    options = dict(signature.parameters)
    has_progress = options.pop("on_done", None) is not None
    has_engine = options.pop("engine", None) is not None

    def command(**given: Any) -> None:
        with ExitStack() as stack:
            if has_progress:
                given["on_done"] = stack.enter_context(item_progress("evaluate"))
            if has_engine:
                name, workers = given.pop("engine_name"), given.pop("workers")
                given["engine"] = stack.enter_context(open_tasks(name, workers, None))
            task(**given)

    shown = [*options.values(), *(_ENGINE_OPTIONS if has_engine else ())]
    shown = [parameter.replace(kind=Parameter.KEYWORD_ONLY) for parameter in shown]
    command.__doc__ = task.__doc__
    command.__signature__ = signature.replace(parameters=shown)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in shown}
    return command
