"""``dancetomusic app``."""

from __future__ import annotations

from typing import Annotated

import typer

from dancetomusic.cli.options import CheckpointOption, CodecOption, ThreadsOption
from dancetomusic.errors import DependencyError


def app(
    host: Annotated[
        str, typer.Option("--host", help="Address to listen at; others than loopback need --token.")
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(
            "--port", min=0, max=65535, help="Port to listen at; 0 takes any that is free."
        ),
    ] = 8000,
    token: Annotated[
        str | None,
        typer.Option(
            "--token",
            envvar="DANCETOMUSIC_TOKEN",
            help="Secret that visitors must have in the address, as ?token=SECRET.",
        ),
    ] = None,
    root_path: Annotated[
        str,
        typer.Option("--root_path", help="Path under which a proxy serves the page, as /dance."),
    ] = "",
    checkpoint: CheckpointOption = None,
    live_checkpoint: Annotated[
        str | None,
        typer.Option("--live_checkpoint", help="Causal model of the live page, likewise."),
    ] = None,
    codec: CodecOption = None,
    threads: ThreadsOption = None,
) -> None:
    """Serve the web page: drop a video on it, or dance in front of the camera."""
    from dancetomusic.app.guard import require_safe_address

    try:
        from dancetomusic.app.server import serve
    except ModuleNotFoundError as error:
        raise DependencyError(
            f"the web page needs {error.name}", "Install it: pip install 'dancetomusic[app]'."
        ) from error
    require_safe_address(host, token)
    serve(
        host,
        port,
        token=token,
        root_path=root_path,
        on_ready=lambda address: print(
            f"serving  {address}{'?token=…' if token else ''}\n"
            "         Ctrl+C ends it and deletes what was uploaded",
            flush=True,
        ),
        checkpoint=checkpoint,
        live_checkpoint=live_checkpoint,
        codec=codec,
        threads=threads,
    )
