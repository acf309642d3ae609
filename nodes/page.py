"""Messages from a running node to the page: a line of text, or a note."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from server import PromptServer

__all__ = ["Page"]

Severity = Literal["info", "success", "warn", "error"]
NOTE = "dreambooth.note"  # web/notes.js shows it
STATUS = "dreambooth.status"  # web/status.js shows it


@dataclass(frozen=True)
class Page:
    """The page that queued the running graph.

    Args:
        node: id of the running node.
    """

    node: str

    def text(self, text: str, *, begins: bool = False, over: bool = False) -> None:
        """Replace the line on the node.

        Args:
            begins: it is the first line of new work, so that the pictures of the former go.
            over: it says how the node ended; else it goes when the node ends.
        """
        self.status(text=text, begins=begins, over=over)

    def picture(self, image: Mapping[str, str]) -> None:
        """Show an image below the line, named as the page asks for it."""
        self.status(picture=image)

    def status(self, **change: Any) -> None:
        """Send what changes on the node."""
        server = PromptServer.instance
        server.send_sync(STATUS, {"node": self.node, **change}, server.client_id)

    def note(self, severity: Severity, summary: str, detail: str) -> None:
        """Show a note in the corner of the page, and log it."""
        logging.info("DreamBooth: %s %s", summary, detail)
        server = PromptServer.instance
        note = {"node": self.node, "severity": severity, "summary": summary, "detail": detail}
        server.send_sync(NOTE, note, server.client_id)
