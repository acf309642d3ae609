"""What a running node tells the page: a line of text, a note that stays, progress."""

from __future__ import annotations

import html
import logging
from dataclasses import dataclass
from typing import Literal

from server import PromptServer

Severity = Literal["info", "success", "warn", "error"]
NOTE = "dreambooth.note"  # web/notes.js shows it


@dataclass(frozen=True)
class Page:
    """The page that queued the running graph."""

    node: str

    def text(self, text: str) -> None:
        """Show a line under the node, in place of the one before; the page takes it for HTML."""
        server = PromptServer.instance
        server.send_progress_text(html.escape(text, quote=False), self.node, server.client_id)

    def note(self, severity: Severity, summary: str, detail: str) -> None:
        """Show a note in the page's corner, and keep it in the log."""
        logging.info("DreamBooth: %s %s", summary, detail)
        server = PromptServer.instance
        note = {"node": self.node, "severity": severity, "summary": summary, "detail": detail}
        server.send_sync(NOTE, note, server.client_id)
