"""A run from someone else is resumed only with the paths that the user gives."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from typing import Any

from ..config.config import Config, read_config_file
from ..files.network import lies_in
from ..runs.origin import check_paths
from ..runs.run import Run

__all__ = ["check_run_paths"]

CONFIRM = (
    "Give each path that is to be used as a flag, as it stands or another, such as --base PATH or "
    "--output PATH; for several concepts give --concept."
)


def check_run_paths(options: argparse.Namespace, config: Config) -> None:
    """Refuse paths that only a run's config names, unless it was written by this installation.

    Raises:
        ConfigError: lists the paths.
    """
    if not options.resume or options.run is None:
        return
    given = {*texts(vars(options))}
    if options.config is not None:
        given |= {*texts(read_config_file(options.config))}
    run = Run(options.run)
    check_paths(run, config, lambda path: path in given or lies_in(path, [run.folder]), CONFIRM)


def texts(value: Any) -> Iterator[str]:
    """Yield every text in a value, and of texts such as name=value also the second part."""
    if isinstance(value, str):
        yield value
        yield value.partition("=")[2]
    elif isinstance(value, Mapping):
        yield from (text for item in value.values() for text in texts(item))
    elif isinstance(value, (list, tuple)):
        yield from (text for item in value for text in texts(item))
