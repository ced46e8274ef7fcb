"""The web server: routes, and what lives as long as it does."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import shutil
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from math import ceil
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Request, WebSocket
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse
from fastapi.routing import APIRoute
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, ConfigDict, Field, model_validator
from starlette.exceptions import HTTPException

from dancetomusic import __version__
from dancetomusic.app.beats import require_beats
from dancetomusic.app.guard import Guard, require_safe_address
from dancetomusic.app.jobs import Job, JobQueue, State, Worker
from dancetomusic.app.limits import Limits, Refusal
from dancetomusic.app.live_socket import MAX_MESSAGE_BYTES, LiveSessions, StreamingEngine
from dancetomusic.app.uploads import Clip, Clips, file_name
from dancetomusic.app.worker import HEARD, SCORE, SKELETON, SKELETON_RANGE, SOUND
from dancetomusic.errors import ConfigError
from dancetomusic.pose.landmarks import BONES, LANDMARK_NAMES

STATIC = Path(__file__).parent / "static"
_SWEEP_S = 20.0
_FOLDER_PREFIX = "dancetomusic-app-"
_JOB_TIMEOUT_S, _JOB_TIMEOUT_PER_S = 120.0, 30.0
_STOP_S = 3
_KEPT = {"Cache-Control": "private, max-age=3600, immutable"}
"""Of files that never change."""
_FILE_AS_BODY = {
    "requestBody": {
        "required": True,
        "content": {"*/*": {"schema": {"type": "string", "format": "binary"}}},
    }
}


class Problem(BaseModel):
    """Why a request is refused and what to do; ``job`` is the client's own that is in the way."""

    problem: str
    remedy: str
    job: str = ""


class Begun(BaseModel):
    """The job to watch."""

    job: str


class RhythmRequest(BaseModel):
    """Where beats are to be looked for."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    beats_from: Literal["auto", "sound", "movement"] = "auto"
    dancers: int = Field(1, ge=1, le=4)


class TakeRequest(RhythmRequest):
    """What a take is to be like; ``None`` leaves a choice to the model.

    Its beats are one of the readings of the video, those at a tempo, or the client's own.
    """

    reading: int = Field(0, ge=0, lt=32)
    beats: list[tuple[float, int]] | None = None
    seed: int = Field(0, ge=0, lt=2**31)
    temperature: float | None = Field(None, ge=0.0, le=2.0)
    cfg_scale: float | None = Field(None, ge=1.0, le=8.0)
    style: str | None = Field(None, max_length=100)
    key: str | None = Field(None, max_length=20)
    energy: float | None = Field(None, ge=-1.0, le=1.0)
    bpm: float | None = Field(None, ge=40.0, le=240.0)

    @model_validator(mode="after")
    def _from_one_place(self) -> TakeRequest:
        if (self.reading > 0) + (self.beats is not None) + (self.bpm is not None) > 1:
            raise ValueError("give one of reading, beats and bpm")
        return self


class FileRequest(BaseModel):
    """What of a take is to be written: its sound, the video with it, its stems or its notes."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    format: Literal["wav", "mp4", "zip", "mid"]
    name: str = Field("dance", max_length=1000)
    mix: float = Field(0.0, ge=0.0, le=1.0)
    levels: dict[str, Annotated[float, Field(ge=0.0, le=2.0)]] = {}
    """Gains of tracks in the mix; 1 for those that are not named."""


def create_app(
    *,
    token: str | None = None,
    root_path: str = "",
    limits: Limits | None = None,
    checkpoint: str | None = None,
    live_checkpoint: str | None = None,
    codec: str | None = None,
    threads: int | None = None,
) -> Guard:
    """The whole application, guarded.

    A ``token`` is needed where others than this machine can reach the application, and
    ``root_path`` where a proxy serves it. ``checkpoint`` and ``live_checkpoint`` are the models of
    the upload page and of the live page: directories or released names.
    """
    limits = limits or Limits()
    options = {"checkpoint": checkpoint, "codec": codec, "threads": threads}
    worker = Worker(options)
    queue = JobQueue(worker, limits)
    live = LiveSessions(limits, partial(_make_engine, live_checkpoint))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        _remove_abandoned()
        folder = Path(tempfile.mkdtemp(prefix=f"{_FOLDER_PREFIX}{os.getpid()}-"))
        app.state.clips = Clips(folder, limits)
        tasks = [
            asyncio.create_task(queue.run()),
            asyncio.create_task(_forget_old(app.state.clips)),
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
            await worker.stop()
            shutil.rmtree(folder, ignore_errors=True)

    app = FastAPI(
        title="dancetomusic",
        version=__version__,
        lifespan=lifespan,
        openapi_url="/api/openapi.json",
        docs_url=None,  # these load scripts of other sites
        redoc_url=None,
        responses={"4XX": {"model": Problem, "description": "Refused, with the remedy"}},
    )
    app.add_exception_handler(Refusal, _answer_refusal)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    app.add_exception_handler(HTTPException, _answer_http_error)
    _add_pages(app, limits)
    _add_clips(app, queue)
    _add_takes(app, queue)

    @app.websocket("/api/live")
    async def play_live(socket: WebSocket) -> None:
        await live.serve(socket, socket.scope["session"])

    app.openapi()  # before HEAD is added, which goes without saying
    for route in app.routes:
        if isinstance(route, APIRoute) and route.methods and "GET" in route.methods:
            route.methods.add("HEAD")
    return Guard(app, token, root_path)


def serve(
    host: str,
    port: int,
    *,
    token: str | None = None,
    on_ready: Callable[[str], None],
    **options: Any,
) -> None:
    """Serve until interrupted.

    Another ``host`` than loopback needs a token; ``port`` 0 is any that is free. ``on_ready`` is
    called with the address when connections are taken.

    Raises:
        ConfigError: If the address is not safe without a token, or in use.
    """
    import uvicorn

    require_safe_address(host, token)
    config = uvicorn.Config(
        create_app(token=token, **options),
        log_level="warning",
        proxy_headers=False,
        server_header=False,
        ws_max_size=MAX_MESSAGE_BYTES,
        ws_max_queue=2,
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=_STOP_S,
    )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.getaddrinfo(host, port)
        listener = socket.create_server((host, port), family=family)
    except socket.gaierror as error:
        raise ConfigError(
            f"there is no host {host}", "Give --host an address of this machine, or leave it out."
        ) from error
    except OSError as error:
        option = "--host" if error.errno == errno.EADDRNOTAVAIL else "--port"
        raise ConfigError(
            f"cannot listen at {host}, port {port} ({os.strerror(error.errno or 0)})",
            f"Choose another {option}.",
        ) from error
    with listener:
        shown = f"[{host}]" if ":" in host else host
        on_ready(f"http://{shown}:{listener.getsockname()[1]}/")
        uvicorn.Server(config).run(sockets=[listener])


def _add_pages(app: FastAPI, limits: Limits) -> None:
    app.mount("/static", StaticFiles(directory=STATIC), name="static")

    @app.get("/", include_in_schema=False)
    async def show_page() -> FileResponse:
        return FileResponse(STATIC / "index.html")

    @app.get("/health")
    async def tell_health() -> dict[str, bool]:
        return {"ok": True}

    @app.get("/api/facts")
    async def tell_facts() -> dict[str, Any]:
        """What the page must know and the package defines."""
        return {
            "bones": BONES,
            "landmarks": LANDMARK_NAMES,
            "skeleton_range": SKELETON_RANGE,
            "upload_bytes": limits.upload_bytes,
            "duration_s": limits.duration_s,
            "keep_s": limits.keep_s,
        }


def _add_clips(app: FastAPI, queue: JobQueue) -> None:
    uploading: set[str] = set()

    @app.post("/api/clips", status_code=201, openapi_extra=_FILE_AS_BODY)
    async def receive_clip(request: Request, name: str = "") -> dict[str, Any]:
        """The body is the file itself; ``name`` is what its client calls it."""
        client: str = request.scope["session"]
        if request.headers.get("content-type", "").startswith("multipart/"):
            raise Refusal(
                415,
                "the video is wrapped in a form",
                "Send the file itself: curl --data-binary @dance.mp4, not -F.",
            )
        if client in uploading:
            raise Refusal(
                429, "you are uploading already", "Wait until it is done.", retry_after_s=5.0
            )
        length = request.headers.get("content-length", "")
        uploading.add(client)
        try:
            clip = await _clips(request).receive(
                request.stream(),
                int(length) if length.isdecimal() else None,
                client=client,
                shown=name,
            )
        finally:
            uploading.discard(client)
        return _describe(clip)

    @app.get("/api/clips/{name}")
    async def show_clip(request: Request, name: str) -> dict[str, Any]:
        """All that is known of a video, for a page that comes back to it."""
        clip = _clips(request).find(name)
        jobs = queue.unfinished_on(str(clip.source))
        return {
            **_describe(clip),
            "analysis": clip.analysis,
            "takes": [
                {**take.result, "take": take_id, "wish": take.wish}
                for take_id, take in clip.takes.items()
                if take.result
            ],
            "jobs": [{"job": job.id, "work": job.request["work"]} for job in jobs],
        }

    @app.get("/api/clips/{name}/video", **_gives("video/*"))
    async def give_video(request: Request, name: str) -> FileResponse:
        clip = _clips(request).find(name)
        return FileResponse(clip.source, media_type=clip.media_type, headers=_KEPT)

    @app.delete("/api/clips/{name}", status_code=204)
    async def forget_clip(request: Request, name: str) -> None:
        clip = _clips(request).find(name)
        if clip.users:
            raise Refusal(409, "music is being made for it", "Cancel the job first.")
        _clips(request).forget(clip)

    @app.post("/api/clips/{name}/rhythm", status_code=202)
    async def read_rhythm(request: Request, name: str, wish: RhythmRequest) -> Begun:
        clip = _clips(request).find(name)

        def keep(result: dict[str, Any]) -> None:
            clip.analysis = result

        work = {"work": "rhythm", **wish.model_dump()}
        return _submit(queue, request, clip, work, keep, lambda: None)

    @app.get("/api/clips/{name}/skeleton", **_gives("application/octet-stream"))
    async def give_clip_skeleton(request: Request, name: str) -> FileResponse:
        """Of the rhythm that was read last."""
        path = _clips(request).find(name).folder / SKELETON
        if not path.is_file():
            raise Refusal(404, "the rhythm of this video was not read", "Ask for its rhythm first.")
        return FileResponse(path)

    @app.post("/api/clips/{name}/takes", status_code=202)
    async def start_take(request: Request, name: str, wish: TakeRequest) -> Begun:
        clip = _clips(request).find(name)
        if wish.beats is not None:
            require_beats(wish.beats, clip.video["duration_s"])
        queue.require_idle(request.scope["session"])
        take_id, take = clip.new_take(wish.model_dump())

        def keep(result: dict[str, Any]) -> None:
            take.result = dict(result)
            result |= {"take": take_id, "wish": take.wish}

        def discard() -> None:
            del clip.takes[take_id]
            shutil.rmtree(take.folder, ignore_errors=True)

        work = {"work": "take", "folder": str(take.folder), **take.wish}
        return _submit(queue, request, clip, work, keep, discard)


def _add_takes(app: FastAPI, queue: JobQueue) -> None:
    @app.post("/api/takes/{name}/files", status_code=202)
    async def start_file(request: Request, name: str, wish: FileRequest) -> Begun:
        clip, take = _clips(request).find_take(name)
        tracks = take.result["tracks"]
        if wish.format in ("zip", "mid") and not tracks:
            raise Refusal(422, "this take has no score", "Ask for wav or mp4.")
        for track in wish.levels.keys() - set(tracks):
            raise Refusal(
                422, f"there is no track {track}", f"Name of: {', '.join(tracks) or 'none'}."
            )
        queue.require_idle(request.scope["session"])
        file, target = clip.new_file(file_name(wish.name, f".{wish.format}"))
        work = {
            "work": "file",
            "folder": str(take.folder),
            "target": str(target),
            "mix": wish.mix,
            "levels": {track: wish.levels.get(track, 1.0) for track in tracks},
        }

        def keep(result: dict[str, Any]) -> None:
            result["url"] = f"api/files/{file}"

        return _submit(queue, request, clip, work, keep, lambda: clip.drop_file(file))

    @app.get("/api/takes/{name}/sound", **_gives("audio/wav"))
    async def give_sound(request: Request, name: str) -> FileResponse:
        return _of_take(request, name, SOUND, "audio/wav")

    @app.get("/api/takes/{name}/stems/{number}", **_gives("audio/flac"))
    async def give_stem(request: Request, name: str, number: int) -> FileResponse:
        """A track as it stands in the mastered mix; together they are the sound."""
        return _of_take(request, name, HEARD.format(number), "audio/flac")

    @app.get("/api/takes/{name}/score", **_gives("application/json"))
    async def give_score(request: Request, name: str) -> FileResponse:
        return _of_take(request, name, SCORE, "application/json")

    @app.get("/api/takes/{name}/skeleton", **_gives("application/octet-stream"))
    async def give_skeleton(request: Request, name: str) -> FileResponse:
        return _of_take(request, name, SKELETON, "application/octet-stream")

    @app.get("/api/files/{name}", **_gives("*/*"))
    async def give_file(request: Request, name: str) -> FileResponse:
        path, shown = _clips(request).find_file(name)
        return FileResponse(path, filename=shown)

    @app.get("/api/jobs/{name}", **_gives("text/event-stream"))
    async def watch_job(request: Request, name: str) -> Response:
        """Server-sent events; the job is cancelled when nobody listens any more."""
        job = queue.find(name)
        if request.method == "HEAD":
            return Response(media_type="text/event-stream")

        async def events() -> AsyncIterator[str]:
            async for state in queue.watch(job):
                yield ": still here\n\n" if state is None else f"data: {json.dumps(state)}\n\n"

        return StreamingResponse(events(), media_type="text/event-stream")

    @app.delete("/api/jobs/{name}", status_code=204)
    async def cancel_job(name: str) -> None:
        queue.cancel(queue.find(name))


def _submit(
    queue: JobQueue,
    request: Request,
    clip: Clip,
    work: dict[str, Any],
    keep: Callable[[dict[str, Any]], None],
    discard: Callable[[], None],
) -> Begun:
    """Queue work on a clip; its result is kept, and may be added to; its failure discards."""

    def end(job: Job) -> None:
        clip.users -= 1
        clip.used_at = time.monotonic()
        if job.state == State.done:
            keep(job.result)
        else:
            discard()

    try:
        job = queue.submit(
            request.scope["session"],
            {**work, "source": str(clip.source)},
            timeout_s=_JOB_TIMEOUT_S + _JOB_TIMEOUT_PER_S * clip.video["duration_s"],
            on_end=end,
        )
    except Refusal:
        discard()
        raise
    clip.users += 1
    return Begun(job=job.id)


def _gives(media_type: str) -> dict[str, Any]:
    """What the description of a route says of an answer that is a file or a stream."""
    return {"response_class": Response, "responses": {200: {"content": {media_type: {}}}}}


def _clips(request: Request) -> Clips:
    clips: Clips = request.app.state.clips
    return clips


def _describe(clip: Clip) -> dict[str, Any]:
    return {"id": clip.id, "name": clip.name, **clip.video}


def _of_take(request: Request, name: str, file: str, media_type: str) -> FileResponse:
    path = _clips(request).find_take(name)[1].folder / file
    if not path.is_file():
        raise Refusal(404, "this take has none", "Look at its tracks.")
    return FileResponse(path, media_type=media_type, headers=_KEPT)


def _remove_abandoned() -> None:
    """Delete what servers left behind that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_FOLDER_PREFIX}*-*"):
        owner = folder.name.removeprefix(_FOLDER_PREFIX).split("-")[0]
        if owner.isdecimal() and not Path("/proc", owner).exists():
            shutil.rmtree(folder, ignore_errors=True)


def _make_engine(checkpoint: str | None, **options: Any) -> StreamingEngine:
    from dancetomusic.live.engine import LiveEngine

    return LiveEngine(checkpoint, **options)


async def _forget_old(clips: Clips) -> None:
    while True:
        await asyncio.sleep(_SWEEP_S)
        clips.forget_old()


async def _answer_refusal(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    headers = {}
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(ceil(error.retry_after_s))
    body = {"problem": error.problem, "remedy": error.remedy}
    if error.job is not None:
        body["job"] = error.job
    return JSONResponse(body, error.status, headers=headers)


async def _answer_invalid(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"][1:]) or "the request"
    message = first["msg"].removeprefix("Value error, ")
    problem = f"{field}: {message[:1].lower()}{message[1:]}"
    return JSONResponse({"problem": problem, "remedy": "Correct it."}, 422)


async def _answer_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    if "Allow" in headers:  # it names what one route of the path takes
        headers["Allow"] = ", ".join(sorted(_methods_at(request))) or headers["Allow"]
    body = {"problem": str(error.detail), "remedy": "See the documentation of the app."}
    return JSONResponse(body, error.status_code, headers=headers)


def _methods_at(request: Request) -> set[str]:
    """What all routes of the request's path take together."""
    routes = [route for route in request.app.routes if isinstance(route, APIRoute)]
    here = (route for route in routes if route.path_regex.match(request.scope["path"]))
    return {method for route in here for method in route.methods or ()}
