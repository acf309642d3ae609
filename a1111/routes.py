"""The page's HTTP routes: the current job, earlier runs, and their images."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import FileResponse
from modules import shared

from ..trainer.environment import environment
from ..trainer.errors import ConfigError
from ..trainer.runs.history import past_run
from . import history
from .device import WebUI
from .gate import Gate
from .jobs import JOBS, Job
from .orders import compare_job, resume_job
from .places import loras_folder, places, runs_folder

__all__ = ["add_routes", "new_key"]

PREFIX = "/dreambooth"
HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
}
keys: list[str] = []  # one: the key of the page being built


def new_key() -> str:
    """Create the secret of the page being built, and return it."""
    keys[:] = [secrets.token_urlsafe(16)]
    return keys[0]


def add_routes(demo: Any, app: FastAPI) -> None:
    """Add the routes to the host's server, unless it runs without a page (--nowebui)."""
    if demo is None:
        return
    server: Any = app  # gradio's app, with accounts and sessions
    accounts = (shared.cmd_opts.api_auth or "").split(",")
    gate = Gate(server.auth is not None, server.tokens, tuple(filter(None, accounts)), keys[0])

    def admitted(request: Request) -> None:
        if not gate.admits(request):
            raise HTTPException(401, "Not authenticated")

    def from_page(request: Request) -> None:
        admitted(request)
        if not gate.from_page(request):
            raise HTTPException(403, "Only the DreamBooth tab may do this.")

    answers = {"state": state, "runs": runs, "runs/{run}/{kind}/{name}": picture}
    for path, answer in answers.items():
        depends = [Depends(admitted)]
        app.add_api_route(f"{PREFIX}/{path}", answer, methods=["GET"], dependencies=depends)
    requests = {"stop": stop, "runs/{run}/resume": resume, "runs/{run}/compare": compare}
    for path, do in requests.items():
        depends = [Depends(from_page)]
        app.add_api_route(f"{PREFIX}/{path}", do, methods=["POST"], dependencies=depends)


async def state() -> dict[str, Any]:
    """Return the running job, or the last one."""
    return {"job": JOBS.current.view() if JOBS.current else None}


def runs() -> dict[str, Any]:
    """Return the earlier runs, and what is missing before a job can run."""
    job = JOBS.running
    running = job.name if job and job.kind == "train" else None
    return {
        "runs": history.run_views(runs_folder(), running, [loras_folder()]),
        "missing": environment.missing(),
    }


def picture(run: str, kind: str, name: str) -> FileResponse:
    """Return an image of a listed run."""
    try:
        found = history.pictures(history.find_run(runs_folder(), run))
    except ConfigError as error:
        raise HTTPException(404, str(error)) from error
    path = found.get(kind, {}).get(name)
    if path is None:
        raise HTTPException(404, "There is no such image.")
    return FileResponse(path, media_type="image/png", headers=HEADERS)


async def stop() -> dict[str, str]:
    """Stop the running job after saving."""
    if JOBS.running:
        JOBS.running.stop()
    return {}


def resume(run: str) -> dict[str, str]:
    """Resume a stopped run."""
    return start(lambda: resume_job(history.find_run(runs_folder(), run), places()))


def compare(run: str) -> dict[str, str]:
    """Sample a run's prompts without and with its LoRA."""

    def make_job() -> Job:
        found = history.find_run(runs_folder(), run)
        lora = past_run(found, [loras_folder()]).lora
        if lora is None:
            raise ConfigError(f"The LoRA of {run!r:.99} was deleted.", "Train it again.")
        return compare_job(found, lora, places())

    return start(make_job)


def start(make_job: Callable[[], Job]) -> dict[str, str]:
    """Start a job; return nothing, or the error that the user can fix."""
    try:
        JOBS.start(make_job, WebUI())
    except ConfigError as error:
        return {"error": str(error)}
    return {}
