"""LoRAs extracted from fine-tuned checkpoints: the nearest of their rank, and how near they are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.terminal.test_cli import trainer
from tests.worker.trainable.test_lora import own_picture
from trainer.config.model import ModelConfig
from trainer.errors import ConfigError
from trainer.runs.control import Control, Stop
from trainer.worker.base.models import load_text_encoders, load_unet, open_base
from trainer.worker.base.single_file import single_file_weights
from trainer.worker.trainable.extract import Extracted, Extraction, extract_lora

TALL = "down_blocks.0.attentions.0.transformer_blocks.0.ff.net.0.proj"
WIDE = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k"
CONV, ONE_BY_ONE = "down_blocks.0.resnets.0.conv1", "down_blocks.0.attentions.0.proj_in"
LAYERS = (TALL, WIDE, CONV, ONE_BY_ONE, "time_embedding.linear_1")
TEXT = "encoder.layers.1.self_attn.q_proj"
BIAS, NORM = "down_blocks.0.resnets.0.conv1.bias", "down_blocks.0.resnets.0.norm1.weight"

Deltas = Mapping[str, Mapping[str, Tensor]]  # by part and name


def parts_of(path: Path) -> dict[str, dict[str, Tensor]]:
    """The weights of a checkpoint's U-Net and text encoders."""
    base = open_base(ModelConfig(str(path)))
    models = {"unet": load_unet(base, torch.float32)}
    kinds = [kind.folder for kind in base.family.text_encoders]
    models |= dict(zip(kinds, load_text_encoders(base, torch.float32), strict=True))
    return {
        part: {n.removeprefix("text_model."): p.detach() for n, p in model.named_parameters()}
        for part, model in models.items()
    }


def tuned_file(base: Path, deltas: Deltas, path: Path) -> Path:
    """The base with some weights changed, in float32."""
    weights = parts_of(base)
    changed = {
        part: {name: weights[part][name] + delta for name, delta in named.items()}
        for part, named in deltas.items()
    }
    save_file(single_file_weights(open_base(ModelConfig(str(base))), changed, torch.float32), path)
    return path


def random_deltas(base: Path, names: tuple[str, ...], rank: int | None = None) -> Deltas:
    """Random changes of a U-Net's weights; with a rank, of exactly that."""
    rng, weights = torch.Generator().manual_seed(5), parts_of(base)["unet"]
    return {"unet": {name: random_delta(weights[name].shape, rank, rng) for name in names}}


def random_delta(shape: torch.Size, rank: int | None, rng: torch.Generator) -> Tensor:
    if rank is None:
        return 0.01 * torch.randn(shape, generator=rng)
    columns = shape[1:].numel()
    up, down = torch.randn(shape[0], rank, generator=rng), torch.randn(rank, columns, generator=rng)
    return (0.01 * up @ down).reshape(shape)


def weight_names(layers: tuple[str, ...] = LAYERS) -> tuple[str, ...]:
    return tuple(f"{layer}.weight" for layer in layers)


def extract(base: Path, tuned: Path, output: Path, **values: object) -> tuple[Path, Extracted]:
    opened = [open_base(ModelConfig(str(path))) for path in (base, tuned)]
    settings = {"rank": 4, "save_precision": "fp32"} | values
    wanted = Extraction(*opened, output, **settings)  # pyright: ignore
    return extract_lora(wanted, lambda event: None, Control())


def products(lora: Path) -> dict[str, Tensor]:
    """Every layer's alpha / rank * up @ down as (out, everything else), by its name in files."""
    weights = load_file(lora)
    found: dict[str, Tensor] = {}
    for name in {key.partition(".")[0] for key in weights}:
        up, down = (weights[f"{name}.lora_{part}.weight"].flatten(1) for part in ("up", "down"))
        found[name] = weights[f"{name}.alpha"] / len(down) * up.double() @ down.double()
    return found


def in_files(layer: str) -> str:
    return f"lora_unet_{layer.replace('.', '_')}"


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_a_change_of_that_rank_is_recovered_and_draws_the_same(tiny_checkpoint, tmp_path, family):
    base = tiny_checkpoint(family)
    names = tuple(n for n in weight_names() if n in parts_of(base)["unet"])
    deltas = dict(random_deltas(base, names, rank=4))
    deltas["text_encoder"] = {
        f"{TEXT}.weight": random_delta(torch.Size((768, 768)), 4, torch.Generator().manual_seed(1))
    }
    tuned = tuned_file(base, deltas, tmp_path / "tuned.safetensors")
    lora, found = extract(base, tuned, tmp_path / "lora.safetensors")
    assert found.error < 1e-5
    prefix = "lora_te1" if family == "sdxl" else "lora_te"
    expected = {in_files(n.removesuffix(".weight")): d for n, d in deltas["unet"].items()}
    expected[f"{prefix}_text_model_{TEXT.replace('.', '_')}"] = deltas["text_encoder"][
        f"{TEXT}.weight"
    ]
    made = products(lora)
    assert made.keys() == expected.keys() and len(names) >= 2
    for name, delta in expected.items():
        torch.testing.assert_close(made[name].float(), delta.flatten(1), rtol=0, atol=1e-7)
    with_lora = own_picture(base, lora, tmp_path / "lora")
    assert np.abs(own_picture(tuned, None, tmp_path / "tuned") - with_lora).max() <= 1
    assert np.abs(own_picture(base, None, tmp_path / "base") - with_lora).max() > 5


def test_a_lower_rank_is_the_nearest_of_all_and_its_error_is_the_rest_of_the_spectrum(
    tiny_checkpoint, tmp_path
):
    base = tiny_checkpoint("sd1")
    deltas = random_deltas(base, weight_names())
    tuned = tuned_file(base, deltas, tmp_path / "tuned.safetensors")
    before, after = parts_of(base)["unet"], parts_of(tuned)["unet"]
    lora, found = extract(base, tuned, tmp_path / "lora.safetensors", rank=5)
    made, lost = products(lora), 0.0
    for name in deltas["unet"]:
        matrix = (after[name].double() - before[name].double()).flatten(1)
        left, values, right = torch.linalg.svd(matrix, full_matrices=False)
        nearest = left[:, :5] * values[:5] @ right[:5]
        torch.testing.assert_close(
            made[in_files(name.removesuffix(".weight"))], nearest, rtol=0, atol=1e-7
        )
        lost += float(values[5:].square().sum())
    assert found.missing == pytest.approx(lost, rel=1e-5)


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_a_share_of_the_energy_is_reached_by_the_smallest_rank(tiny_checkpoint, tmp_path, share):
    base = tiny_checkpoint("sd1")
    deltas = random_deltas(base, weight_names())
    tuned = tuned_file(base, deltas, tmp_path / "tuned.safetensors")
    wanted = {"rank": 1000, "energy": share}
    lora, _ = extract(base, tuned, tmp_path / "lora.safetensors", **wanted)
    weights = load_file(lora)
    for name, delta in deltas["unet"].items():
        energies = torch.linalg.svdvals(delta.flatten(1).double()).square()
        rank = len(weights[f"{in_files(name.removesuffix('.weight'))}.lora_down.weight"])
        assert 1 < rank < len(energies)
        assert energies[:rank].sum() >= share * energies.sum() > energies[: rank - 1].sum()


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_stated_error_is_that_of_the_file(tiny_checkpoint, tmp_path, precision):
    base = tiny_checkpoint("sd1")
    layers, others = weight_names(), (BIAS, NORM)
    deltas = random_deltas(base, (*layers, *others))
    tuned = tuned_file(base, deltas, tmp_path / "tuned.safetensors")
    lora, found = extract(
        base, tuned, tmp_path / "lora.safetensors", rank=3, save_precision=precision
    )
    before, after = parts_of(base)["unet"], parts_of(tuned)["unet"]
    change = {name: after[name].double() - before[name].double() for name in deltas["unet"]}
    whole = sum(float(delta.square().sum()) for delta in change.values())
    outside = sum(float(change[name].square().sum()) for name in others)
    made = products(lora)
    rest = {n: change[n].flatten(1) - made[in_files(n.removesuffix(".weight"))] for n in layers}
    lost = sum(float(delta.square().sum()) for delta in rest.values())
    relative = {name: float(rest[name].norm() / change[name].norm()) for name in layers}
    worst = max(relative, key=lambda name: relative[name]).removesuffix(".weight")
    assert found.error == pytest.approx(((lost + outside) / whole) ** 0.5, rel=1e-5)
    assert found.worst == (pytest.approx(max(relative.values()), rel=1e-5), in_files(worst))
    text = found.describe()
    assert f"{found.error:.1%}" in text and f"{(lost / whole) ** 0.5:.1%}" in text
    assert text in safe_metadata(lora)["modelspec.description"]


def safe_metadata(path: Path) -> dict[str, str]:
    from trainer.model_files.header import read_header

    return dict(read_header(path).metadata)


def test_half_precision_of_the_file_costs_what_is_said(tiny_checkpoint, tmp_path):
    base = tiny_checkpoint("sd1")
    deltas = random_deltas(base, weight_names(), rank=4)
    tuned = tuned_file(base, deltas, tmp_path / "tuned.safetensors")
    _, found = extract(base, tuned, tmp_path / "lora.safetensors", save_precision="fp16")
    assert 1e-5 < found.error < 1e-3


def test_models_that_do_not_belong_together_are_refused_and_nothing_is_written(
    tiny_checkpoint, tmp_path
):
    base, other = tiny_checkpoint("sd1"), tiny_checkpoint("sd2")
    output = tmp_path / "out" / "lora.safetensors"
    with pytest.raises(ConfigError, match=r"is SD 1\.x, .* is SD 2\.x"):
        extract(base, other, output)
    with pytest.raises(ConfigError, match="has the same weights"):
        extract(base, base, output)
    assert not output.parent.exists()


def test_a_stop_ends_it_and_nothing_is_written(tiny_checkpoint, tmp_path):
    base = tiny_checkpoint("sd1")
    tuned = tuned_file(base, random_deltas(base, weight_names()), tmp_path / "tuned.safetensors")
    first, second = (open_base(ModelConfig(str(path))) for path in (base, tuned))
    control = Control()
    control.stop.set()
    wanted = Extraction(first, second, tmp_path / "out" / "lora.safetensors", 4)
    with pytest.raises(Stop):
        extract_lora(wanted, lambda event: None, control)
    assert not (tmp_path / "out").exists()


def test_the_command_writes_the_file_and_says_its_error(tiny_checkpoint, tmp_path):
    base = tiny_checkpoint("sd1")
    tuned = tuned_file(base, random_deltas(base, weight_names(), 4), tmp_path / "tuned.safetensors")
    command = ["extract-lora", "--base", base, "--tuned", tuned, "--output"]
    done = trainer(*command, "lora.safetensors", "--rank", "4", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "LoRA: " in done.stdout + done.stderr
    assert "Relative error of the change: 0.0%" in done.stderr
    assert len(products(tmp_path / "lora.safetensors")) == len(LAYERS)
    for flags in (["--energy", "0"], ["--energy", "1.1"], ["--rank", "0"]):
        done = trainer(*command, "other.safetensors", *flags, folder=tmp_path)
        assert done.returncode == 2 and "Traceback" not in done.stderr
        assert not (tmp_path / "other.safetensors").exists()
