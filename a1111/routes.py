"""The page's HTTP routes: the current job, earlier runs, and their images."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse
from modules import shared

from ..trainer.environment import environment
from ..trainer.errors import ConfigError
from ..trainer.runs.history import past_run
from ..trainer.runs.run import Run
from . import history
from .device import WebUI
from .fields import labelled
from .gate import Gate, Site, matches
from .jobs import JOBS, Job
from .kept import take_lora
from .orders import compare_job, resume_job
from .places import checkpoints, places, result_folders, runs_folder
from .refill import run_contents
from .report_page import HEADERS as REPORT_HEADERS
from .report_page import report_page
from .settings_file import file_contents, file_text

__all__ = ["add_routes", "check_key", "new_key"]

PREFIX = "/dreambooth"
HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
}
ELSEWHERE = (
    "The DreamBooth tab only answers the host's own page. If this is your own address, start the "
    "host with --cors-allow-origins and it, as in --cors-allow-origins=https://my.site."
)
keys: list[str] = []  # one: the key of the page being built


def new_key() -> None:
    """Create the secret of the page being built.

    The page asks for it by a request, whose origin is checked, so it is not a part of the page:
    another site whose name leads to this machine could read that.
    """
    keys[:] = [secrets.token_urlsafe(16)]


def check_key(given: object) -> None:
    """Refuse a click on the tab that does not come from the page.

    Raises:
        ConfigError: the key is not the page's.
    """
    if not (isinstance(given, str) and matches(given, keys)):
        raise ConfigError("This page is not the host's current one.", "Reload it.")


def add_routes(demo: Any, app: FastAPI) -> None:
    """Add the routes to the host's server, unless it runs without a page (--nowebui)."""
    if demo is None:
        return
    server: Any = app  # gradio's app, with accounts and sessions
    accounts = (shared.cmd_opts.api_auth or "").split(",")
    gate = Gate(server.auth is not None, server.tokens, tuple(filter(None, accounts)), keys[0])
    site = own_site(page_login=gate.page_login)

    def from_site(request: Request) -> None:
        if not site.is_own(request):
            raise HTTPException(403, ELSEWHERE)

    def sees_page(request: Request) -> None:
        from_site(request)
        if not gate.sees_page(request):
            raise HTTPException(401, "Not authenticated")

    def admitted(request: Request) -> None:
        from_site(request)
        if not gate.admits(request):
            raise HTTPException(401, "Not authenticated")

    def from_page(request: Request) -> None:
        admitted(request)
        if not gate.from_page(request):
            raise HTTPException(403, "Only the DreamBooth tab may do this. Reload the page.")

    depends = [Depends(sees_page)]
    app.add_api_route(f"{PREFIX}/key", key, methods=["GET"], dependencies=depends)
    answers = {
        "state": state, "runs": runs, "runs/{run}/settings": settings,
        "runs/{run}/report": report, "runs/{run}/{kind}/{name}": picture,
    }  # fmt: skip
    for path, answer in answers.items():
        depends = [Depends(admitted)]
        app.add_api_route(f"{PREFIX}/{path}", answer, methods=["GET"], dependencies=depends)
    requests = {
        "stop": stop, "runs/{run}/resume": resume, "runs/{run}/compare": compare,
        "runs/{run}/take/{step}": take,
        "settings/save": save_settings, "settings/read": read_settings,
    }  # fmt: skip
    for path, do in requests.items():
        depends = [Depends(from_page)]
        app.add_api_route(f"{PREFIX}/{path}", do, methods=["POST"], dependencies=depends)


def own_site(*, page_login: bool) -> Site:
    """Return the addresses of the host's page.

    A name that another site has pointed to this machine is only told from the host's own where
    the host is for this machine alone. A login makes it harmless: it is not kept for that name.
    """
    options = shared.cmd_opts
    origins = tuple(filter(None, (options.cors_allow_origins or "").split(",")))
    any_name = page_login or options.webui_is_non_local
    return Site(any_name, origins, options.cors_allow_origins_regex)


def key() -> JSONResponse:
    """Return the page's key."""
    return JSONResponse({"key": keys[0]}, headers=HEADERS)


async def state() -> dict[str, Any]:
    """Return the running job, or the last one."""
    return {"job": JOBS.current.view() if JOBS.current else None}


def runs() -> dict[str, Any]:
    """Return the earlier runs, and what is missing before a job can run."""
    job = JOBS.running
    running = job.name if job and job.kind == "train" else None
    views = history.run_views(runs_folder(), running, result_folders(), checkpoints())
    return {"runs": views, "missing": environment.missing()}


def settings(run: str) -> dict[str, Any]:
    """Return the contents of the fields that train a run once more, or why there are none."""
    try:
        return {"contents": run_contents(history.find_run(runs_folder(), run), places())}
    except ConfigError as error:
        return {"error": labelled(str(error))}


async def save_settings(request: Request) -> dict[str, Any]:
    """Return the text of a file with the contents of the form."""
    try:
        return {"text": file_text(dict((await request.json())["contents"]))}
    except ConfigError as error:
        return {"error": labelled(str(error))}


async def read_settings(request: Request) -> dict[str, Any]:
    """Return the contents of the form for the text of a file."""
    try:
        return {"contents": file_contents(str((await request.json())["text"]), places())}
    except ConfigError as error:
        return {"error": labelled(str(error))}


def report(run: str, request: Request) -> HTMLResponse:
    """Return the report of a run that was trained here."""
    try:
        found = history.find_run(runs_folder(), run)
        page = report_page(found, request.query_params.get("key", ""))
    except ConfigError as error:
        raise HTTPException(404, str(error)) from error
    return HTMLResponse(page, headers=HEADERS | REPORT_HEADERS)


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


def take(run: str, step: int) -> dict[str, str]:
    """Write the LoRA of a kept checkpoint into the host's folder."""
    try:
        found, result = kept(run)
        path = take_lora(found, step, result)
    except ConfigError as error:
        return {"error": labelled(str(error))}
    WebUI().refresh()
    return {"note": f"Saved {path.name}."}


def kept(run: str) -> tuple[Run, Path]:
    """Return a run that is not being trained, and its newest LoRA.

    Raises:
        ConfigError: there is none.
    """
    found = history.find_run(runs_folder(), run)
    past = past_run(found, result_folders())
    if JOBS.running and JOBS.running.name == run:
        raise ConfigError(f"{run!r:.99} is running.", "Wait until it finishes, or stop it.")
    if past.result is None or past.result_kind != "lora":
        raise ConfigError(f"{run!r:.99} has no LoRA.", "Train it again.")
    return found, past.result


def compare(run: str) -> dict[str, str]:
    """Sample a run's prompts with its base and with its result."""

    def make_job() -> Job:
        found = history.find_run(runs_folder(), run)
        result = past_run(found, result_folders()).result
        if result is None:
            raise ConfigError(f"The result of {run!r:.99} was deleted.", "Train it again.")
        return compare_job(found, result, places())

    return start(make_job)


def start(make_job: Callable[[], Job]) -> dict[str, str]:
    """Start a job; return nothing, or the error that the user can fix."""
    try:
        JOBS.start(make_job, WebUI())
    except ConfigError as error:
        return {"error": labelled(str(error))}
    return {}
