"""The parser of the terminal's commands: short help first, and one line for what is wrong."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from ..config.settings import nearest
from ..errors import ConfigError

__all__ = ["Parser"]

NAMED = re.compile(r"argument (\S+): (.+)", re.DOTALL)


class Parser(argparse.ArgumentParser):
    """A parser that raises `ConfigError` for what it cannot read.

    If `essential` flags are named, `--help` shows only those, and `--help-all` shows all.
    """

    def __init__(self, **details: Any) -> None:
        details = {"allow_abbrev": False, "add_help": False, **details}
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, **details)
        self.essential: dict[str, Sequence[str]] = {}
        self.example = ""
        self.add_argument("-h", "--help", action=Help, nargs=0, help="show this help")

    def show_first(self, essential: dict[str, Sequence[str]], example: str) -> None:
        """Let `--help` show an example and some flags by the title of their section."""
        self.essential, self.example = essential, example
        self.add_argument("--help-all", action=Help, nargs=0, help="show every flag")

    def short_help(self) -> str:
        """Return the help on the essential flags."""
        formatter = self.formatter_class(prog=self.prog)
        formatter.add_text(f"{self.description}\n\nExample:\n{self.example}")
        for title, flags in self.essential.items():
            formatter.start_section(title)
            formatter.add_arguments([self._option_string_actions[flag] for flag in flags])
            formatter.end_section()
        formatter.add_text("All other flags: --help-all. Their effects: docs/settings.md.")
        return formatter.format_help()

    def parse_known_args(self, *arguments: Any, **details: Any) -> tuple[Any, list[str]]:
        """Read arguments; what no flag of this command takes is refused."""
        options, left = super().parse_known_args(*arguments, **details)
        if left:
            raise self.unknown(left)
        return options, left

    def unknown(self, left: Sequence[str]) -> ConfigError:
        """Return the error for arguments that no flag takes."""
        flag = next((text for text in left if text.startswith("--")), None)
        if flag is None:
            return ConfigError(
                f"{left[0]!r:.200} belongs to no flag.",
                'Put a text that has spaces between quotes, such as "a photo of sks dog".',
            )
        flag = flag.partition("=")[0]
        hint = nearest(flag, self._option_string_actions, otherwise=self.see_help())
        return ConfigError(f"There is no flag {flag:.80}.", hint)

    def error(self, message: str) -> NoReturn:
        """Raise ConfigError in place of printing the usage."""
        if found := NAMED.fullmatch(message):
            message = f"{found[1]}: {found[2]}"
        raise ConfigError(f"{message[:1].upper()}{message[1:]}.", self.see_help())

    def see_help(self) -> str:
        """Return the hint for what has no nearer one."""
        return f"See {self.prog} --help."

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        choices: Iterable[Any] | None = action.choices
        if choices is None or value in choices:
            return
        if isinstance(action, argparse._SubParsersAction):
            raise ConfigError(f"There is no command {value!r:.80}.", nearest(value, choices))
        flag = "/".join(action.option_strings)
        raise ConfigError(f"{flag} has no choice {value!r:.80}.", nearest(str(value), choices))


class Help(argparse.Action):
    """Prints the short help, or all of it, and ends the program."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: Any, values: Any, flag: Any = None
    ) -> None:
        """Print what the flag asks for."""
        assert isinstance(parser, Parser)
        short = parser.essential and flag != "--help-all"
        print(parser.short_help() if short else parser.format_help(), end="")
        parser.exit()
