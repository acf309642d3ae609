"""The terminal's commands; flags come from the config's settings."""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import __version__
from .config import (
    Config,
    ModelConfig,
    PriorConfig,
    all_settings,
    read_config_file,
    read_group,
)
from .environment import doctor
from .errors import ConfigError
from .events import Event
from .files import new_folder, numbered
from .model_file import describe
from .plan_command import add_plan_flags, show_plan
from .presets import PRESETS, preset_values
from .run import Run
from .settings import Setting, check_value, parse_value, settings_of
from .terminal import TerminalReport, json_report, stop_on_signals

if TYPE_CHECKING:
    from .worker.control import Control, Report

RUNS = Path("runs")
CACHE = RUNS / "cache"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; gives the exit code: 0 done, 2 bad input, 3 stopped, 1 anything else."""
    options = make_parser().parse_args(arguments)
    try:
        return options.execute(options)
    except ConfigError as error:
        print(f"Error: {error.message} {error.hint}", file=sys.stderr)
        return 2


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dreambooth.py", description="DreamBooth for Stable Diffusion: photos in, a LoRA out."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    add_train(commands.add_parser("train", help="train a LoRA", allow_abbrev=False))
    add_plan(commands.add_parser("plan", help="say what a training will need", allow_abbrev=False))
    add_class_images(
        commands.add_parser("class-images", help="make class images", allow_abbrev=False)
    )
    add_sample(commands.add_parser("sample", help="draw pictures", allow_abbrev=False))
    inspect = commands.add_parser("inspect", help="say what a checkpoint or LoRA is")
    inspect.add_argument("file", type=Path)
    inspect.set_defaults(execute=run_inspect)
    check = commands.add_parser("doctor", help="say what this machine has, and what will be used")
    check.set_defaults(execute=run_doctor)
    return parser


def add_train(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, help="JSON file of settings; flags come on top")
    parser.add_argument("--preset", choices=list(PRESETS), help="named starting point")
    parser.add_argument("--run", type=Path, help="run folder; else runs/<name of the output>")
    parser.add_argument("--resume", action="store_true", help="go on with a stopped run")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="any setting by its name"
    )
    add_events(parser)
    for group in dict.fromkeys(name for name, _ in all_settings()):
        section = parser.add_argument_group(group)
        add_settings(section, (spec for name, spec in all_settings() if name == group))
    parser.set_defaults(execute=run_train)


def add_plan(parser: argparse.ArgumentParser) -> None:
    add_train(parser)
    add_plan_flags(parser)
    parser.set_defaults(execute=run_plan)


def add_class_images(parser: argparse.ArgumentParser) -> None:
    add_settings(parser, [*settings_of(ModelConfig), *settings_of(PriorConfig), *shared_settings()])
    parser.add_argument("--cache", type=Path, default=CACHE, help="where sets are kept")
    add_events(parser)
    parser.set_defaults(execute=run_class_images)


def add_sample(parser: argparse.ArgumentParser) -> None:
    add_settings(parser, [*settings_of(ModelConfig), *shared_settings()])
    parser.add_argument("--lora", type=Path, help="LoRA file")
    parser.add_argument("--strength", type=finite, default=1.0, help="of the LoRA")
    parser.add_argument("--prompt", nargs="+", required=True, help="one or more prompts")
    parser.add_argument("--negative-prompt", default="")
    parser.add_argument("--number", type=at_least(1), default=1, help="pictures per prompt")
    parser.add_argument("--guidance-scale", type=finite, default=7.5)
    parser.add_argument("--steps", type=at_least(1), default=25, help="sampling steps")
    parser.add_argument("--seed", type=at_least(0), default=0, help="of the first picture")
    parser.add_argument("--output", type=Path, default=Path("samples"), help="folder")
    add_events(parser)
    parser.set_defaults(execute=run_sample)


def at_least(smallest: int) -> Callable[[str], int]:
    """How argparse reads a whole number with a lower bound."""

    def read(text: str) -> int:
        if not text.isdecimal() or int(text) < smallest:
            raise argparse.ArgumentTypeError(f"{text} is no whole number of at least {smallest}")
        return int(text)

    return read


def finite(text: str) -> float:
    """How argparse reads a number that is neither infinite nor none."""
    if not math.isfinite(float(text)):
        raise argparse.ArgumentTypeError(f"{text} is no number")
    return float(text)


def add_events(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--events", action="store_true", help="print events as lines of JSON")


def shared_settings() -> list[Setting]:
    return [spec for _, spec in all_settings() if spec.name in ("resolution", "mixed_precision")]


def add_settings(section: Any, specs: Iterable[Setting]) -> None:
    """One flag per setting; only those that are given arrive in the options."""
    for spec in specs:
        shape: dict[str, Any] = {}
        if spec.type is tuple:
            shape["nargs"] = "+"
        elif spec.type is bool:
            shape = {"nargs": "?", "const": "true"}
        default = "" if spec.required or spec.default in ("", ()) else f" (default: {spec.default})"
        section.add_argument(
            spec.flag,
            dest=spec.name,
            default=argparse.SUPPRESS,
            metavar="|".join(spec.choices) or spec.name.rpartition("_")[2].upper(),
            help=(spec.help + default).replace("%", "%%"),
            **shape,
        )


def given_values(options: argparse.Namespace) -> dict[str, Any]:
    """The settings that were given as flags."""
    names = {spec.name for _, spec in all_settings()}
    return {name: value for name, value in vars(options).items() if name in names}


def run_train(options: argparse.Namespace) -> int:
    config = Config.from_values(train_values(options))
    run = choose_run(options, config)

    def execute(report: Report, control: Control) -> Event:
        from .worker.train import train
        from .worker.training import Job

        return train(Job(config, run, options.resume, report, control))

    return run_job(options, run, execute)


def train_values(options: argparse.Namespace) -> dict[str, Any]:
    """Settings from the stopped run, the config file, the preset, the flags; later ones win."""
    values: dict[str, Any] = {}
    if options.resume and options.run is not None:
        values |= read_config_file(Run(options.run).config)
    if options.config is not None:
        values |= read_config_file(options.config)
    if options.preset is not None:
        values |= preset_values(options.preset)
    values |= given_values(options)
    for assignment in options.set:
        name, equals, value = assignment.partition("=")
        if not equals:
            raise ConfigError(f"--set {assignment!r} has no '='.", "Write --set name=value.")
        values[name.strip()] = value
    return values


def choose_run(options: argparse.Namespace, config: Config) -> Run:
    """The run folder: the given one, or one named after the output.

    Raises:
        ConfigError: a new run would mix with one that is there, or none is there to go on with.
    """
    stem = Path(config.result.output).stem
    if options.resume:
        run = Run(options.run or newest_run(stem))
        if not run.config.exists():
            raise ConfigError(f"There is no run {run.folder} to go on with.", "Give --run FOLDER.")
        return run
    if not is_main_process():
        return Run(options.run or RUNS / stem)  # of which it uses the cache beside it
    if options.run is None:
        return Run(new_folder(RUNS, stem))
    if options.run.exists():
        raise ConfigError(
            f"The run folder {options.run} exists.", "Give --resume, or another folder."
        )
    return Run(options.run)


def newest_run(stem: str) -> Path:
    """The newest run of this name: the last of stem, stem_2, ..., whatever the clock said."""
    found = [folder for folder in numbered(RUNS, stem) if Run(folder).config.exists()]
    return found[-1] if found else RUNS / stem


def run_plan(options: argparse.Namespace) -> int:
    return show_plan(Config.from_values(train_values(options)), options)


def run_class_images(options: argparse.Namespace) -> int:
    values = given_values(options)
    model, prior = read_group(ModelConfig, values), read_group(PriorConfig, values)
    if not prior.enabled:
        raise ConfigError("class_prompt is empty.", 'Give --class-prompt "a photo of a dog".')
    resolution, precision = read_shared(values)

    def execute(report: Report, control: Control) -> Event:
        from .worker.jobs import class_images_job
        from .worker.prepare import open_parts

        parts = open_parts(model, precision, report)
        last, folder = class_images_job(parts, prior, resolution, options.cache, control)
        print(f"Class images: {folder}", file=sys.stderr)
        return last

    return run_job(options, None, execute)


def run_sample(options: argparse.Namespace) -> int:
    values = given_values(options)
    model = read_group(ModelConfig, values)
    resolution, precision = read_shared(values)

    def execute(report: Report, control: Control) -> Event:
        from .worker.jobs import Lora, Pictures, sample_job
        from .worker.prepare import open_parts

        parts = open_parts(model, precision, report)
        lora = None if options.lora is None else Lora(options.lora, options.strength)
        pictures = Pictures(
            prompts=options.prompt,
            number=options.number,
            negative_prompt=options.negative_prompt,
            guidance_scale=options.guidance_scale,
            inference_steps=options.steps,
            seed=options.seed,
            size=(resolution, resolution),
            output=options.output,
        )
        return sample_job(parts, pictures, lora, control)

    return run_job(options, None, execute)


def run_job(
    options: argparse.Namespace, run: Run | None, execute: Callable[[Report, Control], Event]
) -> int:
    """Do a job in this process, shown on the terminal and stopped by signals."""
    from .worker.__main__ import guarded
    from .worker.control import Control

    control = Control()
    stop_on_signals(control.stop.set)
    if not is_main_process():
        return guarded(None, lambda heard: execute(heard, control), lambda event: None)
    show = json_report(sys.stdout) if options.events else TerminalReport(sys.stdout)

    def report(event: Event) -> None:
        try:
            show(event)
        except OSError:  # the terminal or pipe has gone: say no more, save and stop
            control.stop.set()
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    return guarded(run, lambda heard: execute(heard, control), report)


def is_main_process() -> bool:
    """Whether this is the one process, of those that accelerate launched, that reports."""
    return os.environ.get("RANK", "0") == "0"


def read_shared(values: dict[str, Any]) -> tuple[int, str]:
    """The resolution and precision of commands that draw but do not train."""
    found: list[Any] = []
    for spec in shared_settings():
        found.append(parse_value(spec, values.get(spec.name, spec.default)))
        check_value(spec, found[-1])
    resolution, precision = found
    return resolution, precision


def run_inspect(options: argparse.Namespace) -> int:
    print(describe(options.file))
    return 0


def run_doctor(_options: argparse.Namespace) -> int:
    print(doctor())
    return 0
