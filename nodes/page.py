"""Messages from a running node to the page: a line of text, or a note."""

from __future__ import annotations

import html
import logging
from dataclasses import dataclass
from typing import Literal

from server import PromptServer

__all__ = ["Page"]

Severity = Literal["info", "success", "warn", "error"]
NOTE = "dreambooth.note"  # web/notes.js shows it


@dataclass(frozen=True)
class Page:
    """The page that queued the running graph.

    Args:
        node: id of the running node.
    """

    node: str

    def text(self, text: str) -> None:
        """Replace the line under the node; escaped, since the page renders it as HTML."""
        server = PromptServer.instance
        server.send_progress_text(html.escape(text, quote=False), self.node, server.client_id)

    def note(self, severity: Severity, summary: str, detail: str) -> None:
        """Show a note in the corner of the page, and log it."""
        logging.info("DreamBooth: %s %s", summary, detail)
        server = PromptServer.instance
        note = {"node": self.node, "severity": severity, "summary": summary, "detail": detail}
        server.send_sync(NOTE, note, server.client_id)
