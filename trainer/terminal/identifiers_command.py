"""The terminal's command that proposes identifiers, and rates a user's own."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ..config.model import ModelConfig
from ..config.optimization import TrainingConfig
from ..config.settings import settings_of
from ..prompts.identifiers import check_noun, check_word
from ..runs.events import Event
from ..runs.orders import RateWords
from .flags import add_events, add_settings, at_least, given_values
from .show import run_job

if TYPE_CHECKING:
    from ..runs.control import Control, Report

__all__ = ["add_identifiers"]


def add_identifiers(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `identifiers`."""
    precision = [spec for spec in settings_of(TrainingConfig) if spec.name == "mixed_precision"]
    add_settings(parser, [*settings_of(ModelConfig), *precision])
    parser.add_argument("--class-noun", default="dog", help="class of the subject (default: dog)")
    parser.add_argument("--word", nargs="+", default=[], help="words of your own to rate as well")
    parser.add_argument(
        "--number", type=at_least(0), default=10, help="words to propose (default: 10)"
    )
    add_events(parser)
    parser.set_defaults(execute=run_identifiers)


def run_identifiers(options: argparse.Namespace) -> int:
    words = [check_word(word) for word in options.word]
    noun = check_noun(options.class_noun)
    order = RateWords("", given_values(options), noun, words, options.number)

    def execute(report: Report, control: Control) -> Event:
        from ..worker.drawing.orders import run_rating

        return run_rating(order, report, control)

    return run_job(options, None, execute)
