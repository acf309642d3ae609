"""Drives a real ComfyUI for tests: starts it, queues graphs, records its events, opens its page."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import signal
import socket
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path
from subprocess import Popen
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

if TYPE_CHECKING:
    from playwright.sync_api import Page

Json = dict[str, Any]
HOST = "127.0.0.1"
FOLDERS = ["custom_nodes", "input", "output", "models/checkpoints", "models/loras", "models/vae"]
# Runs in ComfyUI's interpreter, which has aiohttp: prints each /ws message as one JSON line.
LISTENER = """
import aiohttp, asyncio, json, sys

async def listen(url):
    async with aiohttp.ClientSession() as session, session.ws_connect(url, max_msg_size=0) as ws:
        await ws.send_str('{"type": "feature_flags", "data": {"supports_preview_metadata": true}}')
        async for message in ws:
            data = message.data
            if isinstance(data, bytes):
                data = json.dumps({"type": "binary", "data": data[:400].decode("latin-1")})
            print(data, flush=True)

asyncio.run(listen(sys.argv[1]))
"""


def comfy_dir() -> Path:
    """The ComfyUI checkout to test against."""
    return Path(os.environ.get("COMFYUI_DIR") or Path.home() / "hosts" / "ComfyUI").absolute()


def comfy_python() -> Path:
    """The interpreter that has ComfyUI's requirements."""
    return Path(os.environ.get("COMFYUI_PYTHON") or comfy_dir() / ".venv" / "bin" / "python")


def users_env() -> dict[str, str]:
    """The environment as a user has it: the tests run with the worker's own Python settings."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def skip_reason() -> str | None:
    """Why no ComfyUI can be started here, or None."""
    needed = (comfy_dir() / "main.py", comfy_python())
    absent = [str(path) for path in needed if not path.is_file()]
    return f"set COMFYUI_DIR, COMFYUI_PYTHON: {absent} absent" if absent else None


def browser_skip_reason() -> str | None:
    """Why no page can be opened here, or None."""
    if importlib.util.find_spec("playwright") is None:
        return "playwright is not installed"
    return None if shutil.which("chromium") else "no chromium on PATH"


def remove_weights(folder: Path) -> None:
    """Remove the gigabytes that a host was given and has made; logs and pictures stay."""
    for path in folder.rglob("*.safetensors"):
        path.unlink()


class ComfyServer:
    """A ComfyUI process with one node pack on a free loopback port, alive while entered.

    Args:
        listed: folders of photos that the machine's owner lists.
    """

    def __init__(
        self,
        pack: Path,
        base_dir: Path,
        *,
        name: str = "dreambooth",
        env: Mapping[str, str] = {},
        listed: Sequence[Path] = (),
    ) -> None:
        self.base_dir = base_dir.absolute()
        self.client_id = uuid.uuid4().hex
        self._port = _free_port()
        self.url = f"http://{HOST}:{self._port}"
        self._name = name
        self._env = users_env() | {"HF_HUB_OFFLINE": "1"} | dict(env)
        self._processes: list[Popen[bytes]] = []
        self._listed = listed
        for folder in FOLDERS:
            (self.base_dir / folder).mkdir(parents=True, exist_ok=True)
        link = self.base_dir / "custom_nodes" / name
        if not link.exists():
            link.symlink_to(pack.absolute(), target_is_directory=True)

    def __enter__(self) -> ComfyServer:
        with ExitStack() as on_failure:
            on_failure.callback(self.__exit__)
            self._spawn(self._command(), "comfyui.log")
            self._until(lambda: bool(self.get("/system_stats")), 180, "ComfyUI did not start")
            socket_url = f"{self.url}/ws?clientId={self.client_id}"
            self._spawn([str(comfy_python()), "-c", LISTENER, socket_url], "events.jsonl")
            self._until(lambda: bool(self.events("status")), 30, "ComfyUI sent no event")
            on_failure.pop_all()
        return self

    def __exit__(self, *_exc: object) -> None:
        for process in reversed(self._processes):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            process.wait(30)
        remove_weights(self.base_dir)

    def log_text(self) -> str:
        """Everything that ComfyUI has written to its terminal."""
        return (self.base_dir / "comfyui.log").read_text("utf-8", errors="replace")

    def events(self, kind: str | None = None) -> list[Json]:
        """The /ws messages so far, oldest first, all or those of one type."""
        lines = (self.base_dir / "events.jsonl").read_text("utf-8").splitlines(keepends=True)
        events = [json.loads(line) for line in lines if line.endswith("\n")]
        return [event for event in events if kind in (None, event["type"])]

    def get(self, path: str) -> Any:
        """The JSON answer to a GET."""
        return json.loads(self._request(path))

    def post(self, path: str, body: object) -> Any:
        """The JSON answer to a POST of JSON, None where the answer is empty."""
        return json.loads(self._request(path, json.dumps(body).encode()) or "null")

    def queue(self, graph: Json) -> str:
        """Queues a graph in API format, of which every output must be valid; returns its id."""
        answer = self._prompt(graph)
        assert "error" not in answer and answer["node_errors"] == {}, json.dumps(answer, indent=1)
        return answer["prompt_id"]

    def validate_errors(self, graph: Json) -> Json:
        """The answer (error, node_errors) to a graph that must be rejected at least in part."""
        answer = self._prompt(graph)
        assert "error" in answer or answer["node_errors"], "the graph was accepted"
        return answer

    def wait(self, prompt_id: str, timeout: float = 300) -> Json:
        """The history entry of a queued graph once it has ended, well or badly."""
        path = f"/history/{prompt_id}"
        self._until(lambda: bool(self.get(path)), timeout, f"{prompt_id} did not end")
        return self.get(path)[prompt_id]

    def run(self, graph: Json, timeout: float = 300) -> Json:
        """The history entry of a graph that must succeed."""
        entry = self.wait(self.queue(graph), timeout)
        status = entry["status"]
        assert status["status_str"] == "success", json.dumps(status["messages"][-1], indent=1)
        return entry

    def interrupt(self) -> None:
        """Stops the running graph as the page's cancel button does."""
        self.post("/interrupt", {})

    def upload_image(self, path: Path, subfolder: str = "") -> str:
        """Puts a photo into the input folder; returns its name as image widgets take it."""
        folder = self.base_dir / "input" / subfolder
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder)
        return f"{subfolder}/{path.name}".lstrip("/")

    def object_info(self) -> Json:
        """The definitions of all nodes by id, as the page reads them."""
        return self.get("/object_info")

    def view(self, filename: str, subfolder: str = "", type: str = "output") -> bytes:
        """The bytes of a file that a node has reported to the page."""
        query = {"filename": filename, "subfolder": subfolder, "type": type}
        return self._request(f"/view?{urlencode(query)}")

    def _command(self) -> list[str]:
        options = f"--cpu --listen {HOST} --port {self._port} --disable-api-nodes".split()
        options += ["--base-directory", str(self.base_dir)]
        options += ["--database-url", f"sqlite:///{self.base_dir / 'comfyui.db'}"]
        options += ["--disable-all-custom-nodes", "--whitelist-custom-nodes", self._name]
        if self._listed:
            options += ["--extra-model-paths-config", str(self._write_list())]
        return [str(comfy_python()), str(comfy_dir() / "main.py"), *options]

    def _write_list(self) -> Path:
        """The file with the owner's folders, written as the README says."""
        folders = "".join(f"        {folder}\n" for folder in self._listed)
        file = self.base_dir.parent / "extra_model_paths.yaml"
        file.write_text(f"photos:\n    dreambooth_images: |\n{folders}", "utf-8")
        return file

    def _spawn(self, command: list[str], log_name: str) -> None:
        with (self.base_dir / log_name).open("wb") as log:
            process = Popen(command, stdout=log, stderr=log, env=self._env, start_new_session=True)
        self._processes.append(process)

    def _until(self, done: Callable[[], bool], timeout: float, complaint: str) -> None:
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline and self._processes[0].poll() is None:
            with suppress(OSError):  # not listening yet
                if done():
                    return
            time.sleep(0.1)
        raise RuntimeError(f"{complaint}; its log ends:\n{self.log_text()[-4000:]}")

    def _prompt(self, graph: Json) -> Json:
        return self.post("/prompt", {"prompt": graph, "client_id": self.client_id})

    def _request(self, path: str, body: bytes | None = None) -> bytes:
        with closing(HTTPConnection(HOST, self._port)) as connection:
            connection.request("POST" if body else "GET", path, body)
            answer = connection.getresponse()
            assert answer.status in (200, 400), f"{answer.status} from {path}"
            return answer.read()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


@contextmanager
def browser_page(server: ComfyServer) -> Iterator[Page]:
    """ComfyUI's own page in a headless Chromium, loaded, with no way to the outside."""
    from playwright.sync_api import sync_playwright

    server.post("/settings", {"Comfy.TutorialCompleted": True})
    chromium, arguments = shutil.which("chromium"), ["--no-sandbox", "--disable-gpu"]
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=chromium, args=arguments) as browser,
    ):
        page = browser.new_page(viewport={"width": 1600, "height": 1000})
        page.route(re.compile(r"^https?://(?!127\.0\.0\.1)"), lambda route: route.abort())
        page.goto(server.url)
        page.wait_for_function("window.app?.extensionManager && window.app.vueAppReady")
        yield page
