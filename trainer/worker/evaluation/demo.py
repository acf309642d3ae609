"""The demonstration: a subject that the embedded model never saw, before and after training."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from ...config.config import EMBEDDED, Config
from ...errors import ConfigError
from ...files.atomic import check_writable, write_atomic
from ...photos.pictures import Row, labelled_grid
from ...runs.control import Control, Stop
from ...runs.events import Event, Finished, Status, Stopped
from ...runs.report import Section, write_report
from ...runs.run import Run
from ..drawing.class_images import png_bytes
from ..drawing.jobs import Lora
from ..minisd.parts import SIDE_PX
from ..minisd.probe import load_probe
from ..minisd.subject import subject
from ..training.loop import train
from ..training.prepare import Parts, open_parts
from ..training.training import Job
from .gallery import GUIDANCE_SCALE, draw_prompts, gallery, gallery_prompts, photos, save_photos
from .measures import MEANINGS, Measures, measure

CLASS_NOUN, SUBJECT_SEED, NUM_PHOTOS = "dog", 2_000_001, 5
TRIGGER, OTHER_NOUN = f"sks {CLASS_NOUN}", "car"
SHEET = "before_after.png"
PLACES = ("in the desert", "under water", "at night", "in an autumn park")
SHEET_PROMPTS = (
    *(f"a photo of a {TRIGGER} {place}" for place in PLACES),
    *[f"a photo of a {CLASS_NOUN}"] * 2,
    f"a photo of a {OTHER_NOUN}",
)
SHOWN = f"{TRIGGER} {', '.join(PLACES)}; {CLASS_NOUN}, {CLASS_NOUN}, {OTHER_NOUN}"
LOOK = (
    f"In the second row of pictures the words '{TRIGGER}' mean nothing yet: any {CLASS_NOUN}. "
    f"In the third they should show the {CLASS_NOUN} of the photos, in places where no photo does, "
    f"while '{CLASS_NOUN}' alone should still give different ones, and a {OTHER_NOUN} stay a "
    f"{OTHER_NOUN}. Small parts, as the flag, are often lost in a model of this size."
)
ABOUT = (
    "Shares of the pictures, 1 for all of them, and cosines, as a small network judges them that "
    "was trained to tell what such pictures show."
)


@dataclass(frozen=True)
class Drawn:
    """What one model made of the prompts."""

    sheet: list[Image.Image]
    measures: Measures


def demo_config(folder: Path) -> Config:
    """The demonstration's settings: the defaults, but for a model of this size."""
    return Config.from_values(
        {
            "base": EMBEDDED,
            "instance_images": [str(folder / "photos")],
            "instance_prompt": f"a photo of a {TRIGGER}",
            "class_prompt": f"a photo of a {CLASS_NOUN}",
            "num_class_images": 24,
            "resolution": SIDE_PX,
            "max_train_steps": 600,
            "learning_rate": 1e-3,
            "text_encoder_learning_rate": 5e-4,
            "mixed_precision": "no",
            "class_guidance_scale": GUIDANCE_SCALE,
            "sample_guidance_scale": GUIDANCE_SCALE,
            "sample_every": 200,
            "output": str(folder / f"{TRIGGER.replace(' ', '_')}.safetensors"),
        }
    )


def run_demo(job: Job) -> Event:
    """Draw photos, train, draw the model before and after, and judge both; gives the last event.

    Args:
        job: with `demo_config`'s settings.

    Raises:
        ConfigError: the user can mend it; nothing was trained.
    """
    began = time.monotonic()
    load_probe()  # a damaged one is told before anything is trained
    check_writable(job.run.folder, "run folder")
    job.run.claim(Path(job.config.result.output).parent)
    folder = job.run.folder / "photos"
    is_new = not folder.exists()
    training_photos = photos(subject(CLASS_NOUN, SUBJECT_SEED), NUM_PHOTOS)
    try:
        save_photos(training_photos, folder)
        last = train(job)
    except (ConfigError, OSError):
        if is_new and not job.run.config.exists():
            shutil.rmtree(folder)  # a run that was refused leaves nothing
        raise
    if not isinstance(last, Finished):
        return last
    try:
        before, after = compare(job, Lora(Path(last.result_path)), training_photos)
    except Stop:
        return Stopped(last.step, last.result_path, last.result_kind, resumable=True)
    seconds = time.monotonic() - began
    finished = Finished(last.step, last.result_path, last.result_kind, seconds)
    save_results(job.run, training_photos, before, after)
    write_report(job.run, job.config, finished, list(sections(before, after)))
    return finished


def compare(job: Job, lora: Lora, training_photos: list[Image.Image]) -> tuple[Drawn, Drawn]:
    """Draw and judge the base, then the base with the LoRA."""
    parts = open_parts(job.config.model, job.config.training.mixed_precision, job.report)
    job.report(Status("sampling", message="Drawing with the model as it was"))
    before = drawn_by(parts, training_photos, job.control)
    job.report(Status("sampling", message="Drawing with the trained LoRA"))
    return before, drawn_by(parts, training_photos, job.control, lora)


def drawn_by(
    parts: Parts,
    training_photos: list[Image.Image],
    control: Control,
    lora: Lora | None = None,
) -> Drawn:
    prompts = gallery_prompts(CLASS_NOUN, TRIGGER)
    drawn = draw_prompts(parts, [*prompts, *SHEET_PROMPTS], control, lora)
    shown, sheet = drawn[: len(prompts)], drawn[len(prompts) :]
    pictures = gallery(CLASS_NOUN, shown, training_photos)
    return Drawn(sheet, measure(load_probe(), subject(CLASS_NOUN, SUBJECT_SEED), pictures))


def save_results(run: Run, training_photos: list[Image.Image], before: Drawn, after: Drawn) -> None:
    sheet = labelled_grid(
        [
            Row(f"The {NUM_PHOTOS} photos", training_photos),
            Row(f"Before: {SHOWN}", before.sheet),
            Row(f"After, from the same noise: {SHOWN}", after.sheet),
        ]
    )
    write_atomic(run.folder / SHEET, png_bytes(sheet))
    figures = {"before": before.measures.to_dict(), "after": after.measures.to_dict()}
    write_atomic(run.folder / "measures.json", json.dumps(figures, indent=2) + "\n")


def sections(before: Drawn, after: Drawn) -> Iterator[Section]:
    yield Section("Before and after", LOOK, picture=SHEET)
    columns = {
        title: {name: f"{value:.2f}" for name, value in drawn.measures.to_dict().items()}
        for title, drawn in (("before", before), ("after", after))
    }
    yield Section("Measures", ABOUT, table={**columns, "what it is": MEANINGS})
