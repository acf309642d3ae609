"""Drives a real A1111 or Forge for tests: starts it, asks its API, opens its page."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from tests.helpers.comfy_host import browser_skip_reason, remove_weights, users_env

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext

PACK = Path(__file__).parents[2]
HOST = "127.0.0.1"
START_SEC = 400
COMMON = ["--skip-torch-cuda-test", "--skip-version-check", "--skip-python-version-check", "--api"]
OFFLINE = {
    "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "GRADIO_ANALYTICS_ENABLED": "False",
    "SD_WEBUI_RESTARTING": "1", "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1",
}  # fmt: skip


@dataclass(frozen=True)
class Kind:
    """One of the two hosts.

    Args:
        variable: environment variable that names its checkout.
        flags: with which it starts here.
        login: flags of the login that the tests meet, and its account.
    """

    name: str
    variable: str
    flags: tuple[str, ...]
    login: tuple[str, str]

    @property
    def folder(self) -> Path:
        return Path(os.environ.get(self.variable) or Path.home() / "hosts" / self.name).absolute()

    @property
    def python(self) -> Path:
        return self.folder / "venv" / "bin" / "python"

    def skip_reason(self) -> str | None:
        """Why it cannot be started here, or None."""
        needed = (self.folder / "launch.py", self.python)
        absent = [str(path) for path in needed if not path.is_file()]
        return f"set {self.variable}: {absent} absent" if absent else None


# A1111 runs the pack's install.py at its start; Forge's own extensions would change its packages.
A1111 = Kind(
    "a1111", "A1111_DIR",
    ("--use-cpu", "all", "--no-half", "--do-not-download-clip", "--no-download-sd-model"),
    ("--gradio-auth", "me:secret"),
)  # fmt: skip
FORGE = Kind("forge", "FORGE_DIR", ("--always-cpu", "--skip-install"), ("--api-auth", "me:secret"))


class WebUIServer:
    """A host's process with the pack among its extensions, alive while entered.

    Args:
        data: the folder of all that it keeps.
        login: whether it asks for one.
        flags: further flags.
    """

    def __init__(
        self, kind: Kind, data: Path, *, login: bool = True, flags: Sequence[str] = ()
    ) -> None:
        self.kind, self.data = kind, data
        self.login = kind.login if login else ()
        self.flags = flags
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://{HOST}:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None
        extensions = data / "extensions"
        extensions.mkdir(parents=True)
        (extensions / "dreambooth").symlink_to(PACK, target_is_directory=True)

    def __enter__(self) -> WebUIServer:
        flags = [*COMMON, *self.kind.flags, *self.login, *self.flags]
        flags += ["--data-dir", str(self.data)]
        flags += ["--port", str(self.port), "--gradio-allowed-path", str(self.kind.folder)]
        with (self.data / "log.txt").open("wb") as log:
            self.process = subprocess.Popen(
                [str(self.kind.python), "launch.py", *flags], cwd=self.kind.folder, stdout=log,
                stderr=log, env=users_env() | OFFLINE | {"DREAMBOOTH_PYTHON": sys.executable},
                start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + START_SEC
        # A request before this line would keep the host from adding its middleware.
        while "Startup time" not in self.log_text():
            if time.monotonic() > deadline or self.process.poll() is not None:
                self.__exit__()
                raise RuntimeError(f"It did not start; its log ends:\n{self.log_text()[-4000:]}")
            time.sleep(0.2)
        return self

    def __exit__(self, *_exc: object) -> None:
        assert self.process is not None
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(30)
        remove_weights(self.data)

    def log_text(self) -> str:
        """Everything that the host has written to its terminal."""
        return (self.data / "log.txt").read_text("utf-8", errors="replace")

    def ask(
        self, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Any]:
        """The status and the JSON of an answer; a body is sent by POST."""
        method = "GET" if body is None else "POST"
        content = None if body is None else json.dumps(body)
        sent = {"Content-Type": "application/json", **(headers or {})}
        with closing(HTTPConnection(HOST, self.port, timeout=300)) as connection:
            connection.request(method, path, content, sent)
            answer = connection.getresponse()
            text = answer.read().decode(errors="replace")
        with suppress(ValueError):
            return answer.status, json.loads(text)
        return answer.status, text

    def api(self, path: str, body: object = None) -> Any:
        """The host's API, as one who may use it."""
        account = base64.b64encode(b"me:secret").decode()
        status, answer = self.ask(path, body, {"Authorization": f"Basic {account}"})
        assert status == 200, answer
        return answer

    def draw(self, prompt: str) -> bytes:
        """The pixels of a prompt's picture with a fixed seed."""
        job = {"prompt": prompt, "seed": 1, "steps": 2, "width": 64, "height": 64}
        picture = base64.b64decode(self.api("/sdapi/v1/txt2img", job)["images"][0])
        return Image.open(BytesIO(picture)).tobytes()

    @property
    def runs(self) -> Path:
        return self.data / "outputs" / "dreambooth"

    @property
    def loras(self) -> Path:
        return self.data / "models" / "Lora"


@contextmanager
def browser(server: WebUIServer) -> Iterator[BrowserContext]:
    """A headless Chromium that is logged in."""
    from playwright.sync_api import sync_playwright

    chromium, arguments = shutil.which("chromium"), ["--no-sandbox", "--disable-gpu"]
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=chromium, args=arguments) as opened,
    ):
        yield logged_in(opened, server)


def logged_in(browser: Browser, server: WebUIServer, locale: str = "en-US") -> BrowserContext:
    """A window's cookies and language, with no way to the outside."""
    context = browser.new_context(viewport={"width": 1400, "height": 1150}, locale=locale)
    context.set_default_timeout(120_000)
    local = ("http://127.0.0.1", "ws://127.0.0.1", "data:", "blob:")
    context.route(
        "**/*",
        lambda route: route.continue_() if route.request.url.startswith(local) else route.abort(),
    )
    if server.login:
        account: Any = {"username": "me", "password": "secret"}
        context.request.post(f"{server.url}/login", form=account)
    return context


__all__ = ["A1111", "FORGE", "Kind", "WebUIServer", "browser", "browser_skip_reason", "logged_in"]
