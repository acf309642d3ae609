"""Who may use the tab's routes: whoever may use the host's page."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

KEY_HEADER = "x-dreambooth-key"


class Request(Protocol):
    """What is looked at of a request; fastapi's own fits."""

    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def cookies(self) -> Mapping[str, str]: ...
    @property
    def query_params(self) -> Mapping[str, str]: ...


@dataclass(frozen=True)
class Gate:
    """The locks that the host was started with.

    Args:
        page_login: the page asks for a login (--gradio-auth).
        sessions: the tokens of those who have logged in there.
        api_accounts: "user:password" of those who may use the host's API (--api-auth).
        key: a secret that only the page holds, which other sites' pages cannot know.
    """

    page_login: bool
    sessions: Mapping[str, str]
    api_accounts: tuple[str, ...]
    key: str

    def admits(self, request: Request) -> bool:
        """Whether a request may read: by the page's login, else by the API's or as the page."""
        if self.page_login:
            return any(
                name.startswith("access-token") and value in self.sessions
                for name, value in request.cookies.items()
            )
        if not self.api_accounts:
            return True
        return self.from_page(request) or matches(given_account(request), self.api_accounts)

    def from_page(self, request: Request) -> bool:
        """Whether a request shows the page's key; without it nothing can be changed."""
        given = request.headers.get(KEY_HEADER) or request.query_params.get("key", "")
        return matches(given, [self.key])


def given_account(request: Request) -> str:
    kind, _, value = request.headers.get("authorization", "").partition(" ")
    try:
        return base64.b64decode(value).decode() if kind.lower() == "basic" else ""
    except ValueError:
        return ""


def matches(given: str, allowed: Iterable[str]) -> bool:
    """Compare in a time that tells nothing."""
    return any([secrets.compare_digest(given.encode(), text.encode()) for text in allowed])
