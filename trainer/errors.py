"""The one error that a user can mend."""

import re

__all__ = ["ConfigError", "visible"]

# Control characters, which a terminal would obey, marks that turn the direction of writing, line
# ends, and halves of characters, which no output can show: names of files may hold all of them.
UNSHOWN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


class ConfigError(Exception):
    """A setting or file that the user can mend.

    Args:
        message: names the setting or file and what was found.
        hint: what would do instead.
    """

    def __init__(self, message: str, hint: str) -> None:
        message = visible(message)
        super().__init__(f"{message} {hint}")
        self.message = message
        self.hint = hint


def visible(text: str) -> str:
    """The text on one line, with escapes for what cannot or should not be shown."""
    return UNSHOWN.sub(lambda found: repr(found.group())[1:-1], text)
