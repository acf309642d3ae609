"""What the embedded model can generate: `python -m benchmarks.embedded`.

Generates every class in every place, with the colours in turn, and has the probe classify the
images. Also measures how well the probe classifies unusual individuals, which it was not trained
for. Writes benchmarks/results/embedded.json, and some of the images to docs/embedded.png.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from statistics import mean

import numpy as np
import torch
from PIL import Image

from trainer.config.model import EMBEDDED, ModelConfig
from trainer.files.atomic import write_atomic
from trainer.photos.pictures import Row, labelled_grid, png_bytes
from trainer.runs.control import Control
from trainer.worker.base.parts import open_parts
from trainer.worker.evaluation.gallery import GUIDANCE_SCALE, INFERENCE_STEPS, draw_prompts
from trainer.worker.evaluation.measures import arrays, said, share
from trainer.worker.minisd.dataset import to_pixels
from trainer.worker.minisd.names import BACKGROUND_PHRASES, CLASSES, COLOURS
from trainer.worker.minisd.probe import load_probe
from trainer.worker.minisd.render import render
from trainer.worker.minisd.scene import with_article
from trainer.worker.minisd.subject import subject, view_of

from .train_speed import hardware

ROOT = Path(__file__).parent.parent
RESULTS, SHEET = ROOT / "benchmarks/results/embedded.json", ROOT / "docs/embedded.png"
SHOWN, COLUMNS = 18, 6
FIRST_UNUSUAL, NUM_UNUSUAL = 4_000_000, 64  # seeds that nothing was ever trained on


def main() -> None:
    scenes = list(product(BACKGROUND_PHRASES, CLASSES))
    colours = [list(COLOURS)[place % len(COLOURS)] for place in range(len(scenes))]
    prompts = [
        f"a photo of {with_article(f'{colour} {noun}')} {BACKGROUND_PHRASES[place][0]}"
        for (place, noun), colour in zip(scenes, colours, strict=True)
    ]
    parts = open_parts(ModelConfig(EMBEDDED), "no", lambda event: None)
    pictures = draw_prompts(parts, prompts, Control())
    with torch.no_grad():
        seen = load_probe()(to_pixels(arrays(pictures)))
    wanted = {
        "class": [noun for _, noun in scenes],
        "background": [place for place, _ in scenes],
        "colour": colours,
    }
    found = {fact: share(said(seen, fact, names)) for fact, names in wanted.items()}
    right = said(seen, "class", wanted["class"]).view(len(BACKGROUND_PHRASES), len(CLASSES))
    by_class = dict(zip(CLASSES, right.float().mean(0).tolist(), strict=True))
    result = {
        "command": "python -m benchmarks.embedded",
        "pictures": len(pictures),
        "guidance_scale": GUIDANCE_SCALE,
        "inference_steps": INFERENCE_STEPS,
        "right": rounded(found),
        "class right, by class": rounded(by_class),
        "judge, class of unusual individuals": rounded(unusual_classes()),
        **hardware(),
    }
    write_atomic(RESULTS, json.dumps(result, indent=1) + "\n")
    write_atomic(SHEET, png_bytes(sheet(prompts, pictures)))
    print(json.dumps(result, indent=1))


@torch.no_grad()
def unusual_classes() -> dict[str, float]:
    """Returns, by class, the share of subjects whose class the probe recognises from one view."""
    found = {}
    for noun in CLASSES:
        rng = np.random.Generator(np.random.PCG64(FIRST_UNUSUAL))
        looks = [subject(noun, FIRST_UNUSUAL + number) for number in range(NUM_UNUSUAL)]
        images = np.stack([render(view_of(look, rng)).image for look in looks])
        found[noun] = share(said(load_probe()(to_pixels(images)), "class", [noun] * len(looks)))
    return {"all": mean(found.values()), **found}


def rounded(shares: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 3) for name, value in shares.items()}


def sheet(prompts: list[str], pictures: list[Image.Image]) -> Image.Image:
    """Return a grid of images spread evenly over the list, with their prompts."""
    some = range(0, len(pictures), len(pictures) // SHOWN)[:SHOWN]
    rows = [some[start : start + COLUMNS] for start in range(0, SHOWN, COLUMNS)]
    said = [", ".join(prompts[place].removeprefix("a photo of ") for place in row) for row in rows]
    return labelled_grid(
        [
            Row(text, [pictures[place] for place in row])
            for text, row in zip(said, rows, strict=True)
        ]
    )


if __name__ == "__main__":
    main()
