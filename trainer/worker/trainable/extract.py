"""A LoRA extracted from a fine-tuned checkpoint: the nearest matrices of low rank (Eckart-Young).

Every linear and convolutional layer's change is approximated by up @ down. Nothing is clamped, and
what the LoRA does not hold is measured: changes of small singular values, of biases, norms and
embeddings, and what the file's number format rounds away.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from ...errors import ConfigError
from ...files.atomic import write_unique
from ...runs.control import Control, Report
from ...runs.events import Status
from ..base import models
from ..base.models import BaseModel
from ..base.weights import check_written
from .lora import UNET_PREFIX, file_name
from .lora_file import COMPANIONS, network_metadata
from .origin import DTYPES

__all__ = ["Extracted", "Extraction", "extract_lora"]


@dataclass(frozen=True)
class Extraction:
    """What to extract.

    Args:
        rank: the largest rank of a layer.
        energy: the share of the sum of a layer's squared changes at which its rank ends.
    """

    base: BaseModel
    tuned: BaseModel
    output: Path
    rank: int
    energy: float = 1.0
    save_precision: str = "fp16"


@dataclass
class Extracted:
    """A LoRA and how near it is to the fine-tuned model.

    Args:
        weights: of the file.
        change: the sum of squares of the whole change.
        missing: that of the part which the LoRA does not hold.
        without_place: that of changes of biases, norms and embeddings, which no LoRA can hold.
        worst: the largest relative error of a layer, and the layer.
    """

    weights: dict[str, Tensor] = field(default_factory=dict)
    change: float = 0.0
    missing: float = 0.0
    without_place: float = 0.0
    worst: tuple[float, str] = (0.0, "")

    @property
    def error(self) -> float:
        """The share of the change, as a Frobenius norm, that the LoRA does not hold."""
        lost = self.missing + self.without_place
        return (lost / self.change) ** 0.5 if self.change else 0.0

    def describe(self) -> str:
        """Return the error in one line."""
        layer_error = (self.missing / self.change) ** 0.5 if self.change else 0.0
        return (
            f"Relative error of the change: {self.error:.1%}, of which the rank leaves out "
            f"{layer_error:.1%}; the rest is in biases, norms and embeddings, which no LoRA holds. "
            f"Worst layer: {self.worst[0]:.1%} ({self.worst[1]})."
        )


def extract_lora(wanted: Extraction, report: Report, control: Control) -> tuple[Path, Extracted]:
    """Extract and write a LoRA; returns its path and its error.

    Raises:
        ConfigError: the two models are not of one structure, or are the same.
        Stop: a stop was asked for.
    """
    found = Extracted()
    for prefix, base, tuned in model_pairs(wanted, report):
        compare_models(wanted, found, (prefix, base, tuned), control)
    if not found.weights:
        raise ConfigError(
            f"{wanted.tuned.path.name} has the same weights as {wanted.base.path.name}.",
            "Give the base first and the fine-tuned model second.",
        )
    metadata = file_metadata(wanted, found)
    data = save(found.weights, metadata)
    wanted.output.parent.mkdir(parents=True, exist_ok=True)
    path = write_unique(
        wanted.output.parent, wanted.output.stem, ".safetensors", lambda _: data, COMPANIONS
    )
    check_written(path, found.weights)
    return path, found


def model_pairs(wanted: Extraction, report: Report) -> Iterator[tuple[str, Any, Any]]:
    """Yield the prefix of LoRA keys and both versions of each model, one after the other."""
    if wanted.base.family is not wanted.tuned.family:
        raise ConfigError(
            f"{wanted.base.path.name} is {wanted.base.family.title}, {wanted.tuned.path.name} is "
            f"{wanted.tuned.family.title}.",
            "Give a model and its own fine-tune.",
        )
    pair = (wanted.base, wanted.tuned)
    report(Status("loading", message="Loading the U-Nets"))
    base, tuned = (models.load_unet(one, stored_dtype(one)) for one in pair)
    yield UNET_PREFIX, base, tuned
    del base, tuned
    report(Status("loading", message="Loading the text encoders"))
    encoders = [models.load_text_encoders(one, torch.float32) for one in pair]
    for kind, base, tuned in zip(wanted.base.family.text_encoders, *encoders, strict=True):
        yield kind.lora_prefix, base, tuned


def stored_dtype(base: BaseModel) -> torch.dtype:
    """Return float16 for models that are stored so: loading loses nothing and takes half."""
    stored = {tensor.dtype for tensor in base.file.header.tensors.values()}
    return torch.float16 if not base.is_folder and stored <= {"F16", "I64"} else torch.float32


def compare_models(
    wanted: Extraction, found: Extracted, pair: tuple[str, Any, Any], control: Control
) -> None:
    prefix, base, tuned = pair
    originals = dict(base.named_parameters())
    for name, module in tuned.named_modules():
        control.check()
        for part, value in module.named_parameters(recurse=False):
            before = originals.pop(f"{name}.{part}", None)
            if before is None or before.shape != value.shape:
                raise ConfigError(
                    f"{name}.{part} of {wanted.tuned.path.name} has no counterpart in "
                    f"{wanted.base.path.name}.",
                    "Give a model and its own fine-tune.",
                )
            change = value.detach().double() - before.detach().double()
            energy = float(change.square().sum())
            found.change += energy
            if part == "weight" and isinstance(module, (nn.Linear, nn.Conv2d)) and energy:
                add_layer(wanted, found, file_name(prefix, name), change)
            else:
                found.without_place += energy


def add_layer(wanted: Extraction, found: Extracted, name: str, change: Tensor) -> None:
    """Add the nearest matrices of a layer's change (out, in) or (out, in, height, width)."""
    matrix = change.flatten(1)
    vectors, energies = left_vectors(matrix)
    rank = min(wanted.rank, rank_for(energies, wanted.energy))
    # Both factors carry the square root of the singular values, so that neither overflows.
    scale = energies[:rank].clamp_min(0).sqrt().sqrt()
    scale = torch.where(scale > 0, scale, 1)
    dtype = DTYPES[wanted.save_precision]
    up = (vectors[:, :rank] * scale).to(dtype)
    down = ((vectors[:, :rank].T @ matrix) / scale[:, None]).to(dtype)
    lost = float((matrix - up.double() @ down.double()).square().sum())
    found.missing += lost
    found.worst = max(found.worst, ((lost / float(matrix.square().sum())) ** 0.5, name))
    kernel = change.shape[1:]
    up_shape = (len(up), rank, *[1] * (len(kernel) - 1))
    found.weights[f"{name}.lora_up.weight"] = up.reshape(up_shape).contiguous()
    found.weights[f"{name}.lora_down.weight"] = down.reshape(rank, *kernel).contiguous()
    found.weights[f"{name}.alpha"] = torch.tensor(float(rank))


def left_vectors(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Return the left singular vectors of a matrix and the squared singular values, falling.

    They are the eigenvectors of the smaller of its two Gram matrices in float64, which is as exact
    as an SVD in float32 and many times as fast.
    """
    if len(matrix) <= matrix.shape[1]:
        energies, vectors = torch.linalg.eigh(matrix @ matrix.T)
        return vectors.flip(1), energies.flip(0).clamp_min(0)
    energies, right = torch.linalg.eigh(matrix.T @ matrix)
    energies = energies.flip(0).clamp_min(0)
    singular = energies.sqrt()
    left = matrix @ right.flip(1) / torch.where(singular > 0, singular, 1)
    return left, energies


def rank_for(energies: Tensor, share: float) -> int:
    """Return the smallest rank that holds this share of the energy."""
    if share >= 1:
        return len(energies)
    reached = energies.cumsum(0) < share * energies.sum()
    return min(len(energies), int(reached.sum()) + 1)


def file_metadata(wanted: Extraction, found: Extracted) -> dict[str, str]:
    ranks = {len(value) for name, value in found.weights.items() if ".lora_down." in name}
    return {
        **network_metadata(wanted.base, max(ranks), float(max(ranks))),
        "ss_network_args": json.dumps({"conv_dim": str(max(ranks)), "conv_alpha": str(max(ranks))}),
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.architecture": f"{wanted.base.variant.architecture}/lora",
        "modelspec.title": wanted.output.stem,
        "modelspec.description": f"Extracted from {wanted.tuned.path.name}. {found.describe()}",
    }
