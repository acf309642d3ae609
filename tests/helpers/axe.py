"""Checks a part of a page with axe-core, where AXE_CORE names its axe.min.js (`npm i axe-core`)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page

RUN = """(part) => axe.run(part, { resultTypes: ["violations"] }).then(({ violations }) =>
    violations.filter(({ impact }) => ["serious", "critical"].includes(impact))
    .flatMap(({ id, nodes }) => nodes.map(({ html }) => `${id}: ${html}`)))"""


def axe_skip_reason() -> str | None:
    """Why axe cannot run here, or None."""
    return None if Path(os.environ.get("AXE_CORE", "")).is_file() else "set AXE_CORE: no axe.min.js"


def serious_faults(page: Page, part: str) -> list[str]:
    """The serious and critical faults in the part of a page that a selector names."""
    page.evaluate(Path(os.environ["AXE_CORE"]).read_text("utf-8"))
    return page.evaluate(RUN, part)
