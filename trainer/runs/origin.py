"""Which paths a run's config may name: any if it was written here, few if someone else wrote it.

A run from someone else could name any file as its base or photos, any folder for its result and,
on Windows, a machine that the user's credentials are then sent to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..config.config import CONCEPTS, Config, read_config_file
from ..config.model import EMBEDDED
from ..errors import ConfigError
from .run import Run

__all__ = ["check_paths", "own_config"]

PATHS = ("base", "vae", "instance_images", "class_images", "output")
SHOWN = 10  # paths in a message


def own_config(run: Run, may_name: Callable[[str], bool], hint: str) -> Config:
    """Return the config of a run, which is first checked for links.

    Args:
        may_name: which paths a config that was written elsewhere may contain.

    Raises:
        ConfigError: the run holds links, or it was made elsewhere and names other paths.
    """
    run.check()
    config = Config.from_values(read_config_file(run.config, own=True))
    check_paths(run, config, may_name, hint)
    return config


def check_paths(run: Run, config: Config, may_name: Callable[[str], bool], hint: str) -> None:
    """Refuse a config with paths that it may not name, unless the run's was written here.

    Raises:
        ConfigError: lists the paths.
    """
    found = [f"{name} {path!r:.300}" for name, path in paths(config) if not may_name(path)]
    if found and not run.is_ours:
        more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        raise ConfigError(
            f"The run {run.folder} was made elsewhere and names these paths: "
            f"{', '.join(found[:SHOWN])}{more}.",
            hint,
        )


def paths(config: Config) -> Iterator[tuple[str, str]]:
    """Yield every path of a config with its setting's name."""
    flat = config.flat()
    for values in (flat, *flat.get(CONCEPTS, ())):
        for name in PATHS:
            value = values.get(name)
            texts = value if isinstance(value, list) else [value]
            yield from ((name, text) for text in texts if text not in (None, EMBEDDED))
