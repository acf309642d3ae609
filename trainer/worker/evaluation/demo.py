"""The demonstration: a subject that is new to the embedded model, before and after training."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from ...config.config import Config
from ...config.model import EMBEDDED
from ...errors import ConfigError
from ...files.atomic import check_writable, write_atomic
from ...photos.pictures import Row, labelled_grid, png_bytes, thumbnail
from ...runs.control import Control, Stop
from ...runs.events import Event, Finished, Status, Stopped
from ...runs.report import Section, write_report
from ...runs.run import Run
from ..base.parts import Parts, open_parts
from ..minisd.parts import SIDE_PX
from ..minisd.probe import load_probe
from ..minisd.subject import subject
from ..trainable.apply import LoraFile
from ..training.job import Job
from ..training.loop import train
from .gallery import GUIDANCE_SCALE, draw_prompts, gallery, gallery_prompts, photos, save_photos
from .measures import MEANINGS, Measures, measure

__all__ = ["LOOK", "SHEET", "demo_config", "run_demo"]

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
    f"In the second row, '{TRIGGER}' is still an unknown word: any {CLASS_NOUN} may appear. In the "
    f"third row it should show the {CLASS_NOUN} from the photos, in places that no photo shows, "
    f"while '{CLASS_NOUN}' alone should still show different ones, and a {OTHER_NOUN} should stay "
    f"a {OTHER_NOUN}. Small parts such as the flag are often lost in a model of this size."
)
ABOUT = (
    "Shares of the images (1 is all of them) and cosine similarities, according to a small "
    "classifier that was trained on such images."
)


@dataclass(frozen=True)
class Drawn:
    """What one model generated: the images that are shown, and the measures of all."""

    sheet: list[Image.Image]
    measures: Measures


def demo_config(folder: Path) -> Config:
    """Return the demonstration's settings: the defaults, adapted to the small model."""
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
            "mixed_precision": "no",
            "class_guidance_scale": GUIDANCE_SCALE,
            "sample_guidance_scale": GUIDANCE_SCALE,
            "sample_every": 200,
            "output": str(folder / f"{TRIGGER.replace(' ', '_')}.safetensors"),
        }
    )


def run_demo(job: Job) -> Event:
    """Render photos, train, sample before and after, and measure both; return the last event.

    Args:
        job: with the settings from `demo_config`.

    Raises:
        ConfigError: the user can fix it; nothing was trained.
    """
    began = time.monotonic()
    load_probe()  # so a damaged file is reported before training
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
            shutil.rmtree(folder)  # a refused run leaves nothing behind
        raise
    if not isinstance(last, Finished):
        return last
    try:
        before, after = compare(job, LoraFile(Path(last.result_path)), training_photos)
    except Stop:
        return Stopped(last.step, last.result_path, last.result_kind, resumable=True)
    finished = Finished(last.step, last.result_path, last.result_kind, time.monotonic() - began)
    save_results(job.run, training_photos, before, after)
    shown = [thumbnail(photo) for photo in training_photos]
    write_report(job.run, job.config, finished, list(sections(before, after)), shown)
    return finished


def compare(job: Job, lora: LoraFile, training_photos: list[Image.Image]) -> tuple[Drawn, Drawn]:
    """Sample and measure the base, then the base with the LoRA."""
    parts = open_parts(job.config.model, job.config.training.mixed_precision, job.report)
    job.report(Status("sampling", message="Sampling the model before training"))
    before = drawn_by(parts, training_photos, job.control)
    job.report(Status("sampling", message="Sampling with the trained LoRA"))
    return before, drawn_by(parts, training_photos, job.control, lora)


def drawn_by(
    parts: Parts,
    training_photos: list[Image.Image],
    control: Control,
    lora: LoraFile | None = None,
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
    yield Section("Measures", ABOUT, table={**columns, "meaning": MEANINGS})
