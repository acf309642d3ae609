"""The one error that a user can mend."""


class ConfigError(Exception):
    """A setting or file that the user can mend.

    Args:
        message: names the setting or file and what was found.
        hint: what would do instead.
    """

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(f"{message} {hint}")
        self.message = message
        self.hint = hint
