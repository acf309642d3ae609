"""The terminal's commands, whose flags come from the config's settings."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..config.config import CONCEPTS, Config, all_settings, read_config_file
from ..config.presets import PRESETS, preset_values
from ..environment.environment import doctor
from ..errors import ConfigError
from ..files.atomic import new_folder, numbered
from ..model_files.identify import describe
from ..photos.layouts import read_concepts, read_settings, with_layouts
from ..runs.events import Event, Failed, Finished
from ..runs.history import past_run
from ..runs.run import Run
from .draw_commands import add_class_images, add_sample
from .extract_command import add_extract
from .flags import ESSENTIAL, EXAMPLE, RUNS, add_events, add_settings, assignments, given_values
from .identifiers_command import add_identifiers
from .parser import Parser
from .plan_command import add_plan_flags, show_plan, with_planned_base
from .resume import check_run_paths
from .show import is_main_process, json_report, run_job, show, show_end

if TYPE_CHECKING:
    from ..runs.control import Control, Report

__all__ = ["check", "main"]

OR_START = "or start"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 2 bad input, 3 stopped, 1 anything else."""
    return answered(arguments, lambda options: options.execute(options))


def check(arguments: Sequence[str]) -> int:
    """Return 0 for arguments that can be read; else print why not and return 2."""
    return answered(arguments, lambda options: 0)


def answered(arguments: Sequence[str] | None, execute: Callable[[argparse.Namespace], int]) -> int:
    """Read the arguments, execute them and return the exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        return execute(make_parser().parse_args(arguments))
    except ConfigError as error:
        if "--events" in arguments:
            json_report(sys.stdout)(Failed("config", error.message, error.hint, ""))
        show(f"Error: {error.message} {error.hint}", sys.stderr)
        return 2


def make_parser() -> Parser:
    parser = Parser(
        prog="dreambooth.py",
        description="DreamBooth for Stable Diffusion: photos in, a LoRA or checkpoint out.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")

    def command(name: str, text: str, usage: str = "[flags]") -> Parser:
        prog = f"dreambooth.py {name}"
        description = f"{text[:1].upper()}{text[1:]}."
        return commands.add_parser(
            name, help=text, description=description, prog=prog, usage=f"{prog} {usage}"
        )

    add_train(command("train", "train a LoRA or a model from photos"))
    add_plan(command("plan", "estimate what a training will need"))
    add_class_images(command("class-images", "generate class images"))
    add_sample(command("sample", "generate images, with or without a LoRA"))
    add_identifiers(command("identifiers", "propose rare words for a subject"))
    add_extract(command("extract-lora", "extract a LoRA from a full fine-tune"))
    add_demo(command("demo", "train on the small bundled model"))
    inspect = command("inspect", "identify a checkpoint or LoRA file", "FILE")
    inspect.add_argument("file")  # a string: "./embedded" is a folder, "embedded" the bundled model
    inspect.set_defaults(execute=run_inspect)
    doctor = command("doctor", "show what this machine has and what will be used", "")
    doctor.set_defaults(execute=run_doctor)
    return parser


def add_train(parser: Parser) -> None:
    add_training(parser)
    parser.show_first(ESSENTIAL, EXAMPLE.format("train"))
    parser.set_defaults(execute=run_train)


def add_training(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, help="JSON file of settings; flags override it")
    parser.add_argument(
        "--preset", metavar="NAME", choices=list(PRESETS),
        help="settings for a goal: " + ", ".join(PRESETS),
    )  # fmt: skip
    parser.add_argument("--run", type=Path, help="run folder (default: runs/<name of the output>)")
    again = parser.add_mutually_exclusive_group()
    again.add_argument("--resume", action="store_true", help="resume a stopped run")
    again.add_argument(
        "--resume-or-start", dest="resume", action="store_const", const=OR_START,
        help="resume the run, start it if there is none, or do nothing if it has finished; for "
        "jobs that a queue may start again",
    )  # fmt: skip
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="set any setting by name"
    )
    parser.add_argument(
        "--concept", action="append", default=[], nargs="+", metavar="NAME=VALUE",
        help="one of several subjects, by its settings; repeat it for each subject. Settings given "
        "by other flags apply to all of them",
    )  # fmt: skip
    parser.add_argument(
        "--concepts-list", "--concepts_list", type=Path, metavar="FILE",
        help="JSON list of subjects, also with the names of a concepts_list.json: instance_prompt, "
        "class_prompt, instance_data_dir, class_data_dir",
    )  # fmt: skip
    add_events(parser)
    for group in dict.fromkeys(name for name, _ in all_settings()):
        section = parser.add_argument_group(group)
        add_settings(section, (spec for name, spec in all_settings() if name == group))


def add_plan(parser: Parser) -> None:
    add_training(parser)
    add_plan_flags(parser)
    parser.set_defaults(execute=run_plan)


def add_demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--run", type=Path, help="run folder (default: runs/demo)")
    parser.add_argument("--resume", action="store_true", help="resume a stopped demo")
    add_events(parser)
    parser.set_defaults(execute=run_demo)


def run_train(options: argparse.Namespace) -> int:
    # Absolute paths: a run may be resumed from another working folder.
    config = train_config(options).with_paths(os.path.abspath)
    run = choose_run(options, Path(config.result.output).stem)
    if options.resume == OR_START and (end := finished(run, config)):
        show_end(options, end)
        return 0

    def execute(report: Report, control: Control) -> Event:
        from ..worker.training.job import Job
        from ..worker.training.loop import train

        return train(Job(config, run, bool(options.resume), report, control))

    return run_job(options, run, execute)


def finished(run: Run, config: Config) -> Finished | None:
    """Return how a run ended that has finished with these settings, if its result is there."""
    past = past_run(run, [Path(config.result.output).parent])
    if not isinstance(past.end, Finished) or past.result is None:
        return None
    saved = Config.from_values(read_config_file(run.config, own=True))
    return past.end if config.with_resolution(saved.resolution) == saved else None


def train_config(options: argparse.Namespace) -> Config:
    """Return the config to train.

    Raises:
        ConfigError: it is not complete, or names paths of a run that was made elsewhere.
    """
    return checked_config(options, train_values(options))


def checked_config(options: argparse.Namespace, values: Mapping[str, Any]) -> Config:
    config = Config.from_values(values)
    if options.run is not None and is_there(options):
        check_run_paths(options, config)
    return config


def train_values(options: argparse.Namespace) -> dict[str, Any]:
    """Return the settings of the stopped run, config file, preset and flags; later ones win."""
    values: dict[str, Any] = {}
    if options.resume and options.run is not None and is_there(options):
        values = overridden(values, read_config_file(Run(options.run).config, own=True))
    if options.config is not None:
        values = overridden(values, read_settings(options.config))
    if options.preset is not None:
        values = overridden(values, preset_values(options.preset))
    values = overridden(values, given_values(options))
    values = overridden(values, assignments(options.set, "--set"))
    if options.concepts_list is not None:
        values = overridden(values, read_concepts(options.concepts_list))
    if options.concept:
        concepts = [assignments(texts, "--concept") for texts in options.concept]
        values = overridden(values, {CONCEPTS: concepts})
    return values


def is_there(options: argparse.Namespace) -> bool:
    """Return whether the run to resume must be there, or is."""
    return options.resume != OR_START or Run(options.run).config.exists()


def overridden(values: Mapping[str, Any], later: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with later ones on top, which also replace those of every listed concept."""
    later = with_layouts(later, values)
    listed = values.get(CONCEPTS)
    if not isinstance(listed, list) or CONCEPTS in later:
        return {**values, **later}
    kept = [
        {name: value for name, value in own.items() if name not in later}
        if isinstance(own, dict)
        else own
        for own in listed
    ]
    return {**values, **later, CONCEPTS: kept}


def choose_run(options: argparse.Namespace, stem: str) -> Run:
    """Return the run in the given folder, or in one named after the stem.

    Raises:
        ConfigError: the folder of a new run exists, or there is no run to resume.
    """
    if options.resume:
        run = Run(options.run or newest_run(stem))
        if options.resume != OR_START and not run.config.exists():
            raise ConfigError(f"There is no run {run.folder} to resume.", "Give --run FOLDER.")
        return run
    if not is_main_process():
        return Run(options.run or RUNS / stem)  # uses only the cache next to it
    return new_run(options.run, stem)


def new_run(folder: Path | None, stem: str) -> Run:
    """Return a run in the given folder, which must not exist, or in one named after the stem."""
    if folder is None:
        return Run(new_folder(RUNS, stem))
    try:
        exists = folder.exists()
    except OSError as error:
        hint = "Give another folder."
        raise ConfigError(f"The run folder {folder}: {error.strerror}.", hint) from None
    if exists:
        raise ConfigError(
            f"The run folder {folder} already exists.", "Give --resume, or another folder."
        )
    return Run(folder)


def newest_run(stem: str) -> Path:
    """Return the newest run of this name, the last of stem, stem_2, ..., by number, not by time."""
    found = [folder for folder in numbered(RUNS, stem) if Run(folder).config.exists()]
    return found[-1] if found else RUNS / stem


def run_plan(options: argparse.Namespace) -> int:
    with with_planned_base(options.kind, train_values(options)) as values:
        return show_plan(checked_config(options, values), options)


def run_demo(options: argparse.Namespace) -> int:
    run = choose_run(options, "demo")

    def execute(report: Report, control: Control) -> Event:
        from ..worker.evaluation import demo
        from ..worker.training.job import Job

        config = demo.demo_config(run.folder)
        return demo.run_demo(Job(config, run, options.resume, report, control))

    code = run_job(options, run, execute)
    if code == 0:
        from ..worker.evaluation.demo import LOOK, SHEET

        seen = f"Open {run.folder / SHEET}, or {run.report} in a browser."
        show(f"{seen} {LOOK}", sys.stderr)
    return code


def run_inspect(options: argparse.Namespace) -> int:
    from ..worker.base.embedded import base_path

    show(describe(base_path(options.file)), sys.stdout)
    return 0


def run_doctor(_options: argparse.Namespace) -> int:
    show(doctor(), sys.stdout)
    return 0
