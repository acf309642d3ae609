"""Access to the tab's routes, limited to users of the host's page or API, and to its own site."""

from __future__ import annotations

import base64
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Protocol
from urllib.parse import urlsplit

__all__ = ["Gate", "Site", "matches"]

KEY_HEADER = "x-dreambooth-key"
SAME_SITE = ("same-origin", "none")  # none: the user's own doing, such as an address typed in


class Request(Protocol):
    """The parts of a request that are checked, as in fastapi's `Request`."""

    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def cookies(self) -> Mapping[str, str]: ...
    @property
    def query_params(self) -> Mapping[str, str]: ...


@dataclass(frozen=True)
class Site:
    """The addresses of the host's page.

    Args:
        any_name: False if a page under an unknown name must be of another site, which has pointed
            that name to this machine (DNS rebinding).
        origins: addresses that the owner allows (--cors-allow-origins), as in https://my.site.
        pattern: a regular expression for more of them.
    """

    any_name: bool
    origins: tuple[str, ...] = ()
    pattern: str | None = None

    def is_own(self, request: Request) -> bool:
        """Return whether a request comes from the host's page or a program, not another site."""
        headers = request.headers
        name = headers.get("host", "")
        known = self.any_name or is_local(name) or self.allows(f"http://{name}", f"https://{name}")
        return known and self.is_same_site(headers)

    def is_same_site(self, headers: Mapping[str, str]) -> bool:
        """Return whether no page of another site has sent a request, as far as a browser tells."""
        origin, relation = headers.get("origin"), headers.get("sec-fetch-site")
        if origin is not None and self.allows(origin):
            return True
        if relation is not None:
            return relation in SAME_SITE
        names = (headers.get("host"), headers.get("x-forwarded-host"))
        return origin is None or urlsplit(origin).netloc in names

    def allows(self, *origins: str) -> bool:
        """Return whether the owner allows one of some addresses."""
        if "*" in self.origins or not set(origins).isdisjoint(self.origins):
            return True
        return any(re.fullmatch(self.pattern, origin) for origin in origins if self.pattern)


def is_local(name: str) -> bool:
    """Return whether a Host is a number, or a name that no other site can have."""
    try:
        host = (urlsplit(f"//{name}").hostname or "").removesuffix(".")
        return host == "localhost" or host.endswith(".localhost") or bool(ip_address(host))
    except ValueError:
        return False


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
        if self.page_login or not self.api_accounts:
            return self.sees_page(request)
        return self.from_page(request) or matches(given_account(request), self.api_accounts)

    def sees_page(self, request: Request) -> bool:
        """Return whether the host shows its page to who sends a request."""
        return not self.page_login or any(
            name.startswith("access-token") and value in self.sessions
            for name, value in request.cookies.items()
        )

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
