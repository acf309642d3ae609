"""The one error that a user can fix."""

import re

__all__ = ["ConfigError", "visible", "visible_lines"]

# Control characters, which a terminal would obey, marks that change the writing direction, line
# ends, and lone surrogates, which cannot be printed: file names may contain all of them.
UNSHOWN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


class ConfigError(Exception):
    """A problem with a setting or file that the user can fix.

    Args:
        message: names the setting or file and says what was found.
        hint: what to do about it.
    """

    def __init__(self, message: str, hint: str) -> None:
        message = visible(message)
        super().__init__(f"{message} {hint}")
        self.message = message
        self.hint = hint


def visible(text: str) -> str:
    """Return the text on one line, with escapes for what cannot or should not be shown."""
    return UNSHOWN.sub(lambda found: repr(found.group())[1:-1], text)


def visible_lines(text: str) -> str:
    """Return a text of several lines, each made visible."""
    return "\n".join(map(visible, text.split("\n")))
