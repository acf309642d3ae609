"""How each setting affects what is learned: `python -m benchmarks.quality --work DIR`.

Trains the embedded model on subjects it never saw, with one setting changed at a time, and has the
probe score the images. Every finished training is a line of DIR/trials.jsonl, so a stopped study
can be resumed; `--part 0/2` and `--part 1/2` split it between two processes. `--tables` writes all
trials, and the mean and spread of those present, to benchmarks/results/ and docs/quality.md.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product
from pathlib import Path
from statistics import mean, stdev, variance
from typing import Any

from PIL import Image
from safetensors.torch import load_file, save_file

from trainer.config.config import Config
from trainer.config.model import EMBEDDED, ModelConfig
from trainer.config.trained import TrainedConfig
from trainer.files.atomic import append_lines, write_atomic
from trainer.runs.control import Control
from trainer.runs.events import Event, Failed, Finished
from trainer.runs.run import Run
from trainer.worker.base.embedded import base_path
from trainer.worker.base.models import open_base
from trainer.worker.base.parts import open_parts
from trainer.worker.evaluation.demo import demo_config
from trainer.worker.evaluation.gallery import (
    draw_prompts,
    gallery,
    gallery_prompts,
    perfect_gallery,
    photos,
    save_photos,
)
from trainer.worker.evaluation.measures import MEANINGS, Measures, measure
from trainer.worker.minisd.probe import load_probe
from trainer.worker.minisd.scene import Look
from trainer.worker.minisd.subject import subject
from trainer.worker.trainable.apply import LoraFile
from trainer.worker.trainable.extract import Extraction, extract_lora
from trainer.worker.training.checkpoint import checkpoints
from trainer.worker.training.job import Job
from trainer.worker.training.loop import train

from .train_speed import hardware

SUBJECT_SEED = 2_000_077  # another than the demonstration's, and unknown to the probe
SUBJECTS: Mapping[str, int] = {  # by class noun, of classes that the base draws well: their seeds
    "dog": SUBJECT_SEED + 1,  # the probe takes the dog before it for a cat in its own photos
    **dict.fromkeys(("mushroom", "robot", "backpack", "car"), SUBJECT_SEED),
}
SEEDS = (0, 1, 2)
NUM_STEPS = 500  # fewer than the demonstration's: there is still something to be gained or lost
PRECISION, INFERENCE_STEPS = "bf16", 12  # the demonstration's "no" and 20 take much longer
NOUNS = tuple(SUBJECTS)
WRONG_NOUNS: Mapping[str, str] = dict(zip(NOUNS, (*NOUNS[1:], NOUNS[0]), strict=True))
SURE = 2.8  # standard errors: 95 % by Student's t, for the mean of five subjects
RESULTS = Path(__file__).parent / "results" / "quality.json"
ALL_TRIALS = RESULTS.with_name("quality_trials.jsonl")
PAGE = Path(__file__).parent.parent / "docs" / "quality.md"


@dataclass(frozen=True)
class Variant:
    """One configuration of the study.

    Args:
        settings: what differs from the demonstration's.
        noun: which class noun follows the rare word: the right one, a wrong one, or none.
        own_photos: whether the photos themselves replace the class images.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    num_photos: int = 5
    noun: str = "right"
    own_photos: bool = False

    @property
    def is_full(self) -> bool:
        return self.settings.get("method") == "full"


PREDICTION = {"prior_target": "prediction"}
FULL = {"method": "full", "learning_rate": 1e-4}
VARIANTS: Mapping[str, Variant] = {
    "default": Variant(),
    "no prior": Variant({"num_class_images": 0}),
    "base's prediction": Variant(PREDICTION),
    "base's prediction on the photos": Variant(PREDICTION, own_photos=True),
    "wrong noun": Variant(noun="wrong"),
    "no noun": Variant(noun="none"),
    **{f"photos {number}": Variant(num_photos=number) for number in (1, 2, 3)},
    "text encoder": Variant({"train_text_encoder": True, "text_encoder_learning_rate": 5e-4}),
    "full": Variant(FULL),
    "full with text encoder": Variant(FULL | {"train_text_encoder": True}),
    **{f"rank {rank}": Variant({"rank": rank}) for rank in (4, 64)},
    **{f"rate {rate:g}": Variant({"learning_rate": rate}) for rate in (3e-4, 3e-3)},
    **{f"steps {steps}": Variant({"max_train_steps": steps}) for steps in (200, 300, 1000)},
}
# The generator's own pictures in the model's place.
PERFECT: Mapping[str, Variant] = {"truth": Variant(), "truth, photos 1": Variant(num_photos=1)}
EXTRACTED: Mapping[str, str] = {  # the LoRA of the default's rank, extracted from a full fine-tune
    name: f"LoRA from {name}" for name, variant in VARIANTS.items() if variant.is_full
}
TABLES: Mapping[str, Sequence[str]] = {
    "Before, after, and what a perfect training would reach": ("base", "default", "truth"),
    "Prior preservation": ("no prior", "default"),
    "What class images teach": (
        "no prior", "default", "base's prediction", "base's prediction on the photos",
    ),
    "Class noun": ("default", "wrong noun", "no noun"),
    "Number of photos": (
        "truth, photos 1", "photos 1", "photos 2", "photos 3", "default",
    ),
    "Text encoder": ("default", "text encoder"),
    "Full fine-tune": (
        "default", "full", "LoRA from full",
        "full with text encoder", "LoRA from full with text encoder",
    ),
    "Rank": ("rank 4", "default", "rank 64"),
    "Learning rate": ("rate 0.0003", "default", "rate 0.003"),
    "Steps": ("steps 200", "steps 300", "default", "steps 1000"),
}  # fmt: skip
SHOWN = (
    "fidelity", "prompt_accuracy", "success", "colour_accuracy", "copying",
    "language_drift", "class_accuracy", "diversity", "others_accuracy", "leakage",
)  # fmt: skip
BY_SUBJECT = ("fidelity", "prompt_accuracy", "language_drift")


@dataclass(frozen=True)
class Trial:
    """One training of one subject."""

    variant: str
    class_noun: str
    seed: int

    @property
    def key(self) -> str:
        return f"{self.variant}, {self.class_noun}, {self.seed}"

    @property
    def measured(self) -> tuple[Trial, ...]:
        """The trial itself, and that of the LoRA that is extracted from its result."""
        extracted = EXTRACTED.get(self.variant)
        return (self, *([replace(self, variant=extracted)] if extracted else []))


def trials() -> Iterator[Trial]:
    """Yields the whole study; the first round has every variant for every subject once."""
    for seed, class_noun in product(SEEDS, SUBJECTS):
        base = ["base"] if seed == SEEDS[0] else []  # it knows no seed
        for variant in (*base, *PERFECT, *VARIANTS):
            yield Trial(variant, class_noun, seed)


def run_trial(trial: Trial, work: Path) -> dict[str, Measures]:
    """Train (unless the trial is the bare base), generate images and score them.

    Returns:
        The measures by variant: of the trial, and of the LoRA extracted from a full fine-tune.
    """
    look = subject(trial.class_noun, SUBJECTS[trial.class_noun])
    variant = {**VARIANTS, **PERFECT}.get(trial.variant, Variant())
    training_photos = photos(look, variant.num_photos, trial.seed)
    trigger = f"sks {noun_of(variant, look)}".strip()
    if trial.variant in PERFECT:
        return {trial.variant: measure(load_probe(), look, perfect_gallery(look, training_photos))}
    judged = partial(judge, look, trigger, training_photos)
    if trial.variant == "base":
        return {"base": judged()}
    run = Run(work / trial.key)
    shutil.rmtree(run.folder, ignore_errors=True)  # of a study that was stopped
    save_photos(training_photos, run.folder / "photos")
    config = trial_config(trial, variant, run, trigger, noun_of(variant, look) or look.class_noun)
    last = train(Job(config, run, False, fail_loudly, Control()))
    assert isinstance(last, Finished)
    if variant.is_full:
        tuned = tuned_folder(run)
        measures = {
            EXTRACTED[trial.variant]: judged(lora=LoraFile(extract(tuned))),
            trial.variant: judged(base=str(tuned)),
        }
    else:
        measures = {trial.variant: judged(lora=LoraFile(Path(last.result_path)))}
    shutil.rmtree(run.folder)
    return measures


def tuned_folder(run: Run) -> Path:
    """Return a copy of the embedded model with what a full fine-tune has made of it.

    The run's own result is a single file in Stable Diffusion's layout, which has no place for a
    VAE as small as the embedded one.
    """
    folder = run.folder / "tuned"
    shutil.copytree(base_path(EMBEDDED), folder)
    state = load_file(checkpoints(run.checkpoints)[-1] / "trained.safetensors")
    for file in ("unet/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors"):
        prefix = f"{Path(file).parent}."
        weights = load_file(folder / file)
        changed = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        assert changed.keys() <= weights.keys()
        save_file(weights | {k: v.to(weights[k].dtype) for k, v in changed.items()}, folder / file)
    return folder


def extract(tuned: Path) -> Path:
    """Extract a LoRA from a fine-tuned embedded model; returns its path."""
    base, other = (open_base(ModelConfig(path)) for path in (EMBEDDED, str(tuned)))
    output = tuned.with_name("extracted.safetensors")
    wanted = Extraction(base, other, output, TrainedConfig().rank)
    path, found = extract_lora(wanted, fail_loudly, Control())
    print(found.describe(), flush=True)
    return path


def noun_of(variant: Variant, look: Look) -> str:
    nouns = {"right": look.class_noun, "wrong": WRONG_NOUNS[look.class_noun], "none": ""}
    return nouns[variant.noun]


def trial_config(trial: Trial, variant: Variant, run: Run, trigger: str, class_noun: str) -> Config:
    own = {"class_images": str(run.folder / "photos"), "num_class_images": variant.num_photos}
    values = {
        **demo_config(run.folder).flat(),
        "instance_prompt": f"a photo of a {trigger}",
        "class_prompt": f"a photo of a {class_noun}",
        "seed": trial.seed,
        "max_train_steps": NUM_STEPS,
        "mixed_precision": PRECISION,
        "sample_every": None,
        "save_every": None,
        **(own if variant.own_photos else {}),
        **variant.settings,
    }
    return Config.from_values(values)


def fail_loudly(event: Event) -> None:
    assert not isinstance(event, Failed), event


def judge(
    look: Look,
    trigger: str,
    training_photos: Sequence[Image.Image],
    lora: LoraFile | None = None,
    base: str = EMBEDDED,
) -> Measures:
    parts = open_parts(ModelConfig(base), PRECISION, lambda event: None)
    prompts = gallery_prompts(look.class_noun, trigger)
    drawn = draw_prompts(parts, prompts, Control(), lora, INFERENCE_STEPS)
    return measure(load_probe(), look, gallery(look.class_noun, drawn, training_photos))


def read_trials(file: Path) -> dict[str, dict[str, float]]:
    """Return the measures by trial, without lines that a killed process left incomplete."""
    found = {}
    for line in file.read_text("utf-8").splitlines() if file.exists() else []:
        with suppress(ValueError):
            entry = json.loads(line)
            found[entry["trial"]] = entry["measures"]
    return found


Rows = Mapping[str, Mapping[int, Mapping[str, float]]]  # measures by subject and seed


def summary(found: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """Returns, by variant and measure, the mean and the difference to the default.

    A measure that was added later is left out where some of a variant's trials lack it.
    """
    rows: dict[str, dict[str, dict[int, Mapping[str, float]]]] = {}
    measured = (part for trial in trials() for part in trial.measured)
    for trial in measured:
        if trial.key in found:
            of_variant = rows.setdefault(trial.variant, {})
            of_variant.setdefault(trial.class_noun, {})[trial.seed] = found[trial.key]
    counts = {name: sum(map(len, of_variant.values())) for name, of_variant in rows.items()}
    for seeds in rows.get("base", {}).values():
        seeds.update(dict.fromkeys(SEEDS, seeds[SEEDS[0]]))
    default = rows["default"]
    return {
        name: {
            "trials": counts[name],
            **{
                measure: compared(of_variant, default, measure)
                for measure in MEANINGS
                if all(measure in row for seeds in of_variant.values() for row in seeds.values())
            },
            "subjects": {noun: means_of(seeds) for noun, seeds in of_variant.items()},
        }
        for name, of_variant in rows.items()
    }


def means_of(seeds: Mapping[int, Mapping[str, float]]) -> dict[str, float]:
    """Return the means over seeds that the table by subject shows."""
    return {name: round(mean(row[name] for row in seeds.values()), 4) for name in BY_SUBJECT}


def compared(rows: Rows, default: Rows, measure: str) -> dict[str, float]:
    """Return the statistics of one measure of one variant.

    A subject counts once, as the mean of its seeds: mean and deviation are over subjects, `seeds`
    is the deviation between seeds of one subject. The difference is between trials of the same
    subject and seed; its standard error is over subjects.
    """
    of_subjects = [[row[measure] for row in seeds.values()] for seeds in rows.values()]
    means = [mean(values) for values in of_subjects]
    found = {"mean": mean(means), "deviation": stdev(means) if len(means) > 1 else 0.0}
    if spreads := [variance(values) for values in of_subjects if len(values) > 1]:
        found["seeds"] = mean(spreads) ** 0.5
    differences = [
        mean(rows[noun][seed][measure] - default[noun][seed][measure] for seed in both)
        for noun in rows
        if (both := rows[noun].keys() & default.get(noun, {}).keys())
    ]
    if len(differences) > 1:
        found["difference"] = mean(differences)
        found["error"] = stdev(differences) / len(differences) ** 0.5
    return {name: round(value, 4) for name, value in found.items()}


def page(found: Mapping[str, Any]) -> Iterator[str]:
    """Yields the lines of the tables."""
    for title, names in TABLES.items():
        there = [name for name in names if name in found]
        if len(there) < 2:  # nothing to compare yet
            continue
        yield f"\n## {title}\n"
        columns = [measure for measure in SHOWN if all(measure in found[name] for name in there)]
        yield "| | n | " + " | ".join(name.replace("_", " ") for name in columns) + " |"
        yield "|---|---|" + "---|" * len(columns)
        for name in there:
            paired = name not in (*PERFECT, "default")
            cells = [cell(found[name][measure], paired=paired) for measure in columns]
            yield f"| {name} | {found[name]['trials']} | " + " | ".join(cells) + " |"
    yield from page_by_subject(found)


def page_by_subject(found: Mapping[str, Any]) -> Iterator[str]:
    yield "\n## By subject\n"
    yield ", ".join(name.replace("_", " ") for name in BY_SUBJECT) + ": means of the seeds.\n"
    yield "| | " + " | ".join(SUBJECTS) + " |"
    yield "|---|" + "---|" * len(SUBJECTS)
    names = ("base", *VARIANTS, *EXTRACTED.values())
    for name in filter(found.__contains__, names):
        subjects = found[name]["subjects"]
        cells = [
            ", ".join(f"{v:.2f}" for v in subjects.get(noun, {}).values()) for noun in SUBJECTS
        ]
        yield f"| {name} | " + " | ".join(cells) + " |"


def cell(value: Mapping[str, float], *, paired: bool) -> str:
    text = f"{value['mean']:.2f} ± {value['deviation']:.2f}"
    if paired and "difference" in value:
        difference = f"({value['difference']:+.2f} ± {value['error']:.2f})"
        sure = abs(value["difference"]) > SURE * value["error"]
        text += f"<br>**{difference}**" if sure else f"<br>{difference}"
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder for trials")
    parser.add_argument("--part", default="0/1", help="which of how many shares of the study")
    parser.add_argument("--tables", action="store_true", help="write the tables, and do no more")
    options = parser.parse_args()
    trials_file = options.work / "trials.jsonl"
    if options.tables:
        done = read_trials(trials_file)
        lines = [json.dumps({"trial": name, "measures": row}) for name, row in done.items()]
        write_atomic(ALL_TRIALS, "".join(f"{line}\n" for line in sorted(lines)))
        found = summary(done)
        write_atomic(RESULTS, json.dumps({**hardware(), "variants": found}, indent=1) + "\n")
        write_atomic(PAGE, PAGE.read_text("utf-8").partition("\n## ")[0] + "\n".join(page(found)))
        return
    part, parts = map(int, options.part.split("/"))
    options.work.mkdir(parents=True, exist_ok=True)
    done = read_trials(trials_file)
    for number, trial in enumerate(trials()):
        if number % parts == part and trial.key not in done:
            found = run_trial(trial, options.work)
            lines = [
                json.dumps({"trial": replace(trial, variant=name).key, "measures": row.to_dict()})
                for name, row in found.items()
            ]
            append_lines(trials_file, "".join(f"{line}\n" for line in lines))
            print(*lines, sep="\n", flush=True)


if __name__ == "__main__":
    main()
