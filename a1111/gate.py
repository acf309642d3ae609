"""Access to the tab's routes, limited to users of the host's page or API."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

__all__ = ["Gate"]

KEY_HEADER = "x-dreambooth-key"


class Request(Protocol):
    """The parts of a request that are checked, as in fastapi's `Request`."""

    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def cookies(self) -> Mapping[str, str]: ...
    @property
    def query_params(self) -> Mapping[str, str]: ...


@dataclass(frozen=True)
class Gate:
    """The login options the host was started with.

    Args:
        page_login: the page asks for a login (--gradio-auth).
        sessions: tokens of logged-in users.
        api_accounts: "user:password" pairs for the host's API (--api-auth).
        key: a secret known only to the page, so that other sites cannot send requests for it.
    """

    page_login: bool
    sessions: Mapping[str, str]
    api_accounts: tuple[str, ...]
    key: str

    def admits(self, request: Request) -> bool:
        """Return whether a request may read: by page login if set, else by API account or key."""
        if self.page_login:
            return any(
                name.startswith("access-token") and value in self.sessions
                for name, value in request.cookies.items()
            )
        if not self.api_accounts:
            return True
        return self.from_page(request) or matches(given_account(request), self.api_accounts)

    def from_page(self, request: Request) -> bool:
        """Return whether a request carries the page's key, which every change requires."""
        given = request.headers.get(KEY_HEADER) or request.query_params.get("key", "")
        return matches(given, [self.key])


def given_account(request: Request) -> str:
    kind, _, value = request.headers.get("authorization", "").partition(" ")
    try:
        return base64.b64decode(value).decode() if kind.lower() == "basic" else ""
    except ValueError:
        return ""


def matches(given: str, allowed: Iterable[str]) -> bool:
    """Compare in constant time."""
    return any([secrets.compare_digest(given.encode(), text.encode()) for text in allowed])
