"""Reference trainings of tiny models, to check that a refactoring changes no weight and no loss.

    python -m benchmarks.reference before.json              # before the change
    python -m benchmarks.reference after.json --against before.json

Every case trains a random tiny model through the command line, in float32 on one CPU thread, and
yields two hashes: of the LoRA's tensors and of the reported losses. They depend on the processor
and the torch version, so compare only results from the same machine.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file

from trainer.terminal.cli import main as dreambooth

from .random_checkpoint import save_checkpoint

STEPS, STOP_AT = 6, 3
CLASS = {"class_prompt": "a photo of a dog", "num_class_images": 3}
PARTS = {"train_batch_size": 2, "gradient_accumulation_steps": 2}
CASES: dict[str, tuple[str, Mapping[str, object]]] = {
    "sd1": ("sd1", {}),
    "sd1, class images": ("sd1", CLASS),
    "sd1, text encoder, class images, accumulation": (
        "sd1", {"train_text_encoder": True, **CLASS, **PARTS},
    ),
    "sd1, base's prediction, text encoder": (
        "sd1", {"prior_target": "prediction", "train_text_encoder": True, **CLASS},
    ),
    "sd1, min-SNR, class images, warm-up": (
        "sd1", {"snr_gamma": 5, "noise_offset": 0.1, "lr_warmup_steps": 2, **CLASS},
    ),
    "sd2 v-prediction, min-SNR, class images": (
        "sd2", {"prediction_type": "v_prediction", "snr_gamma": 5, **CLASS},
    ),
    "sd2 v-prediction, text encoder, shapes": (
        "sd2",
        {
            "prediction_type": "v_prediction", "train_text_encoder": True, "crop_mode": "none",
            "flip": True, **PARTS,
        },
    ),
    "sdxl, both text encoders, class images, accumulation": (
        "sdxl", {"train_text_encoder": True, **CLASS, **PARTS},
    ),
    "sdxl, random crops, base's prediction": (
        "sdxl", {"crop_mode": "random", "num_crops": 3, "prior_target": "prediction", **CLASS},
    ),
}  # fmt: skip


def make_photos(folder: Path) -> Path:
    """Write three photos of different shapes; returns their folder."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index, (width, height) in enumerate([(96, 80), (80, 160), (100, 100)]):
        pixels = rng.integers(0, 255, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"photo_{index}.png")
    return folder


def hashes(folder: Path, family: str, settings: Mapping[str, object]) -> dict[str, str]:
    """Train without and with a resume, which must agree; returns the case's two hashes."""
    straight = train(folder / "straight", folder.parent, family, settings, STEPS)
    train(folder / "parts", folder.parent, family, settings, STOP_AT)
    resumed = train(folder / "parts", folder.parent, family, settings, STEPS, resume=True)
    weights = tensor_hash(straight[1])
    if tensor_hash(resumed[1]) != weights:
        raise SystemExit(f"{family} {dict(settings)}: the resumed run ended elsewhere.")
    return {"weights": weights, "losses": text_hash(json.dumps(straight[0]))}


def train(
    folder: Path,
    shared: Path,
    family: str,
    settings: Mapping[str, object],
    steps: int,
    *,
    resume: bool = False,
) -> tuple[list[list[float]], Path]:
    """Train through the terminal's command; returns the losses and the path of the LoRA."""
    values: dict[str, object] = {
        "base": shared / f"{family}.safetensors",
        "instance_images": shared / "photos",
        "instance_prompt": "a photo of sks dog",
        "resolution": 64, "rank": 4, "learning_rate": 1e-3, "mixed_precision": "no",
        "sample_every": "none", "sample_inference_steps": 1, "class_inference_steps": 2,
        "max_train_steps": steps, "output": folder / "loras" / "dog.safetensors",
        **settings,
    }  # fmt: skip
    command = ["train", "--events", "--run", str(folder / "run"), *["--resume"] * resume]
    for name, value in values.items():
        command += ["--" + name.replace("_", "-"), str(value)]
    with redirect_stdout(io.StringIO()) as output:
        code = dreambooth(command)
    if code:
        raise SystemExit(f"{' '.join(command)}\n{output.getvalue()[-2000:]}")
    events = [json.loads(line) for line in output.getvalue().splitlines()]
    names = ("loss", "instance_loss", "prior_loss", "learning_rate")
    losses = [[e[name] for name in names] for e in events if e["event"] == "progress"]
    return losses, Path(events[-1]["result_path"])


def tensor_hash(path: Path) -> str:
    """Return the SHA-256 of all tensors of a file with their names, without the metadata."""
    digest = hashlib.sha256()
    for name, value in sorted(load_file(path).items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()


def text_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def all_hashes() -> dict[str, dict[str, str]]:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_photos(folder / "photos")
        for family in ("sd1", "sd2", "sdxl"):
            save_checkpoint(folder / f"{family}.safetensors", family, "tiny")
        found = {}
        for index, (title, (family, settings)) in enumerate(CASES.items()):
            (folder / str(index)).mkdir()
            found[title] = hashes(folder / str(index), family, settings)
        return found


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> Sequence[str]:
    """Return one line for each case whose weights or losses differ."""
    return [
        f"{title}: {kind} differ"
        for title, found in after.items()
        for kind, value in found.items()
        if before.get(title, {}).get(kind) != value
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("result", type=Path, help="JSON file to write")
    parser.add_argument("--against", type=Path, help="an earlier result to compare with")
    options = parser.parse_args()
    found = all_hashes()
    options.result.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    if options.against is not None:
        different = differences(json.loads(options.against.read_text("utf-8")), found)
        print("\n".join(different) or f"All {len(found)} cases are the same.")
        sys.exit(bool(different))


if __name__ == "__main__":
    main()
