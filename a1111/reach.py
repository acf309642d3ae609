"""Which files of this machine the tab's fields may name, by how the host was started."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..trainer.errors import ConfigError
from ..trainer.files.containment import first_outside

__all__ = ["Reach"]


@dataclass(frozen=True)
class Reach:
    """Which files and folders the tab's fields may name.

    Args:
        any_field: False if the host hides fields for paths (--hide-ui-dir-config).
        folders: what those who use the page over a network may read; None: the page is for this
            machine's own user, who may read all.
    """

    any_field: bool
    folders: tuple[Path, ...] | None

    def check(self, name: str, text: str | None) -> None:
        """Refuse the content of a field for a path, unless it is empty.

        Raises:
            ConfigError: names the field, and the host's option that decides.
        """
        if text and not self.any_field:
            raise ConfigError(
                f"{name} is {text!r:.200}, but the host was started with --hide-ui-dir-config.",
                "Leave it empty and upload the photos.",
            )
        if text and self.folders is not None:
            self.check_paths(name, Path(text), self.folders)

    def check_paths(self, name: str, path: Path, folders: tuple[Path, ...]) -> None:
        """Refuse a path outside of some folders, or a folder with links that leave them."""
        outside = path if not path.is_absolute() else first_outside([path], folders)
        if (outside or first_outside(links_in(path), folders)) is not None:
            raise ConfigError(
                f"{name} {str(path)!r:.200} is outside of the folders that this page may read.",
                "Upload photos instead, move the files below the host's data folder, or start the "
                "host with --gradio-allowed-path and their folder.",
            )


def links_in(path: Path) -> Iterable[Path]:
    return (entry for entry in path.iterdir() if entry.is_symlink()) if path.is_dir() else ()
