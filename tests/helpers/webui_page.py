"""The tab in a browser, as the tests of A1111 and Forge use it."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tests.helpers.webui_host import WebUIServer

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page, WebSocketRoute

WAIT_SEC = 400
SMALL = {"resolution": 64, "rank": 4, "learning_rate": 0.01, "sample_inference_steps": 2}


def open_tab(context: BrowserContext, host: WebUIServer) -> Page:
    """A new window with the tab in front."""
    page = context.new_page()
    page.goto(host.url, wait_until="domcontentloaded")
    show_tab(page)
    return page


def show_tab(page: Page) -> None:
    page.wait_for_selector("#txt2img_generate", state="visible")
    page.click("#tabs > .tab-nav button:has-text('DreamBooth')")
    page.wait_for_selector("#dreambooth_live[data-state]", state="visible")


def fill(page: Page, **values: object) -> None:
    """Put values into fields, which advanced ones must be shown for."""
    if not page.is_visible("#dreambooth_sample_inference_steps"):
        page.click("#dreambooth_advanced > .label-wrap")
    for name, value in values.items():
        field = page.locator(f"#dreambooth_{name}").locator("textarea, input").first
        field.fill(str(value))
        field.blur()


def content(page: Page, name: str) -> str:
    """What a field holds."""
    return page.locator(f"#dreambooth_{name}").locator("textarea, input").first.input_value()


def cannot_train(page: Page, reason: str) -> None:
    """Train says why it cannot be pressed."""
    wait_until(page, lambda: reason in page.inner_text("#dreambooth_waits"), reason)
    assert page.is_disabled("#dreambooth_train")


def live(page: Page) -> str:
    return page.inner_text("#dreambooth_live")


def wait_until(page: Page, done: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + WAIT_SEC
    while not done():
        assert time.monotonic() < deadline, f"{what}: {live(page)}"
        page.wait_for_timeout(200)


def wait_for_state(page: Page, state: str) -> None:
    wait_until(page, lambda: page.get_attribute("#dreambooth_live", "data-state") == state, state)


def wait_for_end(page: Page, title: str, state: str = "finished") -> None:
    """Wait for the end of one job: until it is shown, the panel shows how the former one ended."""

    def ended() -> bool:
        shown = page.get_attribute("#dreambooth_live", "data-state")
        return page.inner_text("#dreambooth_live .dreambooth-title") == title and shown == state

    wait_until(page, ended, f"{title}, {state}")


def step(page: Page) -> int:
    found = re.search(r"Step (\d+)/", live(page))
    return int(found[1]) if found else 0


def wait_for_step(page: Page, beyond: int = 0) -> int:
    wait_until(page, lambda: step(page) > beyond, f"a step beyond {beyond}")
    return step(page)


def give_photos(page: Page, photos: Path) -> None:
    files = sorted(photos.iterdir())
    page.set_input_files("#dreambooth_uploads input[type=file]", files)
    page.wait_for_selector(".dreambooth-report")
    assert f"{len(files)} photos" in page.inner_text("#dreambooth_report")


Held = list[Callable[[], object]]  # requests or answers, each of which waits until it is called


def hold_uploads(page: Page) -> Held:
    """The page's uploads from now on."""
    held: Held = []
    page.route(re.compile(r"/upload(\?|$)"), lambda route: held.append(route.continue_))
    return held


def hold_events(page: Page) -> Held:
    """What A1111's tab functions answer from now on, or what the page asks those of Forge."""
    held: Held = []

    def join(way: WebSocketRoute) -> None:
        def hear(message: str | bytes) -> None:
            if "process_completed" in str(message):
                held.append(lambda: way.send(message))
            else:
                way.send(message)

        server = way.connect_to_server()
        server.on_message(hear)
        server.on_close(lambda code, reason: None)  # the page closes when it has the answer

    page.route_web_socket("**/queue/join", join)
    page.route("**/queue/join*", lambda route: held.append(route.continue_))
    return held


def let_go(page: Page, held: Held, done: Callable[[], object]) -> None:
    """Let held requests through until something is done; later ones are held."""

    def is_done() -> bool:
        if done():
            return True
        while held:
            held.pop(0)()
        return False

    wait_until(page, is_done, "the answers")


def choose(page: Page, field: str, name: str) -> None:
    """Choose from a list; one that is open while the host sends a new one closes."""
    option = page.locator(f"#dreambooth_{field} ul li:has-text('{name}')")

    def opened() -> bool:
        page.locator(f"#dreambooth_{field} input").blur()
        page.click(f"#dreambooth_{field} input")
        page.wait_for_timeout(500)
        return option.is_visible()

    wait_until(page, opened, name)
    option.click()


def screenshot(page: Page, host: WebUIServer) -> None:
    """A picture of the tab, for the documentation where DREAMBOOTH_SCREENSHOTS says."""
    target = Path(os.environ.get("DREAMBOOTH_SCREENSHOTS") or host.data)
    page.evaluate("scrollTo(0, 0)")
    page.wait_for_timeout(1500)
    page.screenshot(path=target / f"{host.kind.name}.png")
