"""A run's report as a page of the host."""

from __future__ import annotations

import re
from urllib.parse import quote

from ..trainer.errors import ConfigError
from ..trainer.files.own import is_own_file, open_own
from ..trainer.runs.run import Run

__all__ = ["HEADERS", "has_report", "report_page"]

# Whatever a report holds, it runs nothing, sends nothing and shows images of this host alone.
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
}
SOURCE = re.compile(r'src="(?:samples/(?P<sample>step_\d+_\d+)|loss)\.png"')


def has_report(run: Run) -> bool:
    """Return whether a run has a report that was written here: another's could be any page."""
    return is_own_file(run.report) and run.is_ours


def report_page(run: Run, key: str) -> str:
    """Return the report's HTML, with the addresses of the tab's routes for its images.

    Args:
        key: the page's, as the request gave it.

    Raises:
        ConfigError: there is none that was written here.
    """
    if not has_report(run):
        raise ConfigError(f"{run.folder.name!r:.99} has no report.", "Reload the page.")
    with open_own(run.report) as file:
        text = file.read().decode("utf-8", errors="replace")

    def address(found: re.Match[str]) -> str:
        path = f"sample/{found['sample']}" if found["sample"] else "loss/loss"
        return f'src="{path}?key={quote(key)}"'

    return SOURCE.sub(address, text)
