"""A frozen base that is stored in fewer bits: its rounding, its gradients and whole trainings."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from tests.conftest import CLASS_PROMPT
from tests.worker.training.test_train import (
    assert_identical,
    changed,
    newest_state,
    run_training,
)
from trainer.config.model import ModelConfig
from trainer.environment.environment import worker_env
from trainer.errors import ConfigError
from trainer.runs.control import Control
from trainer.runs.run import Run
from trainer.worker.base import models
from trainer.worker.base.parts import open_parts
from trainer.worker.base.quantised import StoredConv2d, StoredLinear, expanded, quantise
from trainer.worker.device import libraries
from trainer.worker.memory.costs import sizes
from trainer.worker.memory.meter import Meter
from trainer.worker.trainable.apply import LoraFile, encode_with
from trainer.worker.trainable.lora import inject
from trainer.worker.training.job import Job
from trainer.worker.training.setup import set_up
from trainer.worker.training.training import Training

CPU = torch.device("cpu")
# The root of the mean square error of normal weights, as a share of their own, and bytes a weight.
ROUNDING = {"bf16": 0.0016, "fp16": 0.0002, "fp8": 0.026, "int8": 0.0067, "nf4": 0.092}
BYTES = {"bf16": 2.0, "fp16": 2.0, "fp8": 1.0, "int8": 1.0, "nf4": 0.516}
STORED = ("fp8", "int8", "nf4")


def stored_layer(precision: Any, layer: nn.Module) -> Any:
    model = nn.ModuleDict({"layer": layer.requires_grad_(False)})
    quantise(model, precision, CPU)
    return model["layer"]


def set_up_run(config: Any, folder: Any) -> Training:
    return set_up(Job(config, Run(folder), False, lambda event: None, Control()))


@pytest.mark.parametrize("precision", ROUNDING)
def test_a_stored_weight_differs_by_the_rounding_of_its_format(precision):
    torch.manual_seed(0)
    layer = nn.Linear(320, 1280)
    nn.init.normal_(layer.weight, std=0.02)
    weight = layer.weight.detach().clone()
    stored = stored_layer(precision, layer)
    share = float((expanded(stored, torch.float32) - weight).norm() / weight.norm())
    assert share == pytest.approx(ROUNDING[precision], rel=0.15)
    size = sum(p.nbytes for name, p in stored.named_parameters() if name != "bias")
    assert size / weight.numel() == pytest.approx(BYTES[precision], rel=0.02)
    inputs = torch.randn(7, 320)
    error = stored(inputs) - nn.functional.linear(inputs, weight, stored.bias)
    assert float(error.norm() / (inputs @ weight.T).norm()) == pytest.approx(share, rel=0.1)


@pytest.mark.parametrize("precision", ROUNDING)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_layer_computes_and_differentiates_with_the_weight_that_its_parts_stand_for(
    precision, dtype
):
    torch.manual_seed(0)
    layers = nn.Linear(64, 96), nn.Conv2d(32, 64, 3, stride=2, padding=1)
    inputs = torch.randn(2, 5, 64), torch.randn(2, 32, 9, 9)
    for layer, values in zip(layers, inputs, strict=True):
        plain = type(layer).__new__(type(layer))
        plain.__dict__ = {**layer.to(dtype).__dict__, "_parameters": dict(layer._parameters)}
        stored = stored_layer(precision, layer)
        if isinstance(stored, StoredLinear | StoredConv2d):  # not where it is the same format
            plain.weight = nn.Parameter(expanded(stored, dtype))
        ours, theirs = (values.to(dtype).requires_grad_() for _ in range(2))
        found, expected = stored(ours), plain(theirs)
        assert torch.equal(found, expected)
        direction = torch.randn_like(found)
        found.backward(direction)
        expected.backward(direction)
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("precision", STORED)
def test_odd_rows_survive(precision):
    layer = nn.Linear(64, 4)
    rows = [torch.zeros(64), torch.full((64,), 1e-12), torch.ones(64) * 60000, torch.randn(64)]
    layer.weight.data = torch.stack(rows)
    found = expanded(stored_layer(precision, layer), torch.float32)
    assert found.isfinite().all()
    assert not found[0].any()
    torch.testing.assert_close(found[2], rows[2], rtol=0.06, atol=0)


@pytest.mark.parametrize("precision", STORED)
def test_autograd_keeps_no_expanded_weight(precision):
    model = nn.Sequential(*(nn.Linear(256, 256) for _ in range(8))).requires_grad_(False)
    quantise(model, precision, CPU)
    weights = list(model.parameters())
    inputs = torch.randn(2, 256, requires_grad=True)
    with Meter(weights) as meter:
        model(inputs).sum().backward()
    assert meter.peak_bytes < 2.5 * 4 * 256 * 256  # a plain cast would keep eight


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_norms_and_the_ends_of_the_u_net_keep_their_format(tiny_checkpoint, family):
    base = models.open_base(ModelConfig(str(tiny_checkpoint(family)), base_precision="fp8"))
    unet = models.load_stored_unet(base, torch.float32, CPU)
    kept = {name.split(".")[0] for name, m in unet.named_modules() if type(m) is nn.Linear}
    kept |= {name.split(".")[0] for name, m in unet.named_modules() if type(m) is nn.Conv2d}
    assert kept >= {"conv_in", "conv_out", "time_embedding"}
    assert kept <= {"conv_in", "conv_out", "time_embedding", "add_embedding"}
    norms = [m for m in unet.modules() if isinstance(m, nn.GroupNorm | nn.LayerNorm)]
    assert {norm.weight.dtype for norm in norms} == {torch.float32}


@pytest.mark.parametrize(("precision", "error"), [("bf16", 0.05), ("fp8", 0.5), ("int8", 0.2)])
def test_gradients_reach_the_lora_and_are_those_of_the_base_but_for_rounding(
    make_config, tmp_path, precision, error
):
    plain = lora_gradients(make_config(train_text_encoder=True), tmp_path / "plain")
    config = make_config(train_text_encoder=True, base_precision=precision)
    found = lora_gradients(config, tmp_path / "stored")
    assert found.keys() == plain.keys()
    whole, expected = (torch.cat([g.flatten() for g in some.values()]) for some in (found, plain))
    assert 0 < (whole - expected).norm() / expected.norm() < error
    assert all(bool(found[name].any()) == bool(plain[name].any()) for name in plain)


def lora_gradients(config: Any, folder: Any) -> dict[str, torch.Tensor]:
    training = set_up_run(config, folder / "run")
    training.updater.gradients(1)
    named = training.model.trained.named_parameters()
    return {name: p.grad.clone() for name, p in named if p.grad is not None}


@pytest.mark.parametrize("precision", STORED)
def test_the_loras_gradients_are_those_on_the_expanded_base(make_config, tmp_path, precision):
    training = set_up_run(make_config(base_precision=precision), tmp_path / "run")
    training.updater.gradients(1)
    found = {n: p.grad.clone() for n, p in training.model.trained.named_parameters()}
    training.updater.optimizer.zero_grad()
    unet = training.parts.unet
    for name, layer in list(unet.named_modules()):
        if isinstance(layer, StoredLinear | StoredConv2d):
            plain = plain_copy(layer)
            parent, _, own = name.rpartition(".")
            setattr(unet.get_submodule(parent), own, plain)
    assert not any(isinstance(m, StoredLinear | StoredConv2d) for m in unet.modules())
    training.updater.gradients(1)
    for name, parameter in training.model.trained.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, rtol=1e-4, atol=1e-7)


def plain_copy(layer: StoredLinear | StoredConv2d) -> nn.Module:
    if isinstance(layer, StoredLinear):
        plain = nn.Linear(layer.in_features, layer.out_features, layer.bias is not None)
    else:
        plain = nn.Conv2d(
            layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride, layer.padding
        )
    plain.weight, plain.bias = nn.Parameter(expanded(layer, torch.float32)), layer.bias
    return plain.requires_grad_(False)


@pytest.mark.parametrize(("precision", "dtype"), [("fp8", "bf16"), ("int8", "no"), ("nf4", "bf16")])
def test_four_steps_equal_two_a_resume_and_two_more(make_config, tmp_path, precision, dtype):
    config = make_config(
        base_precision=precision, mixed_precision=dtype, class_prompt=CLASS_PROMPT,
        num_class_images=2, sample_every=1, train_text_encoder=True,
        gradient_checkpointing="on" if dtype == "bf16" else "off",
    )  # fmt: skip
    run_training(config, tmp_path / "straight/r")
    run_training(config, tmp_path / "stopped/r", stop_after=2)
    last = run_training(config, tmp_path / "stopped/r", resume=True)[-1]
    assert_identical(newest_state(tmp_path / "straight/r"), newest_state(tmp_path / "stopped/r"))
    plain = run_training(changed(config, base_precision="auto"), tmp_path / "plain/r")[-1]
    ours, theirs = load_file(last.result_path), load_file(plain.result_path)
    assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in theirs.items()}
    assert any(not torch.equal(ours[key], theirs[key]) for key in ours)


def test_a_resume_with_another_precision_is_refused(make_config, tmp_path):
    config = make_config(base_precision="fp8")
    run_training(config, tmp_path / "r", stop_after=2)
    with pytest.raises(ConfigError, match="base_precision"):
        run_training(changed(config, base_precision="int8"), tmp_path / "r", resume=True)


@pytest.mark.parametrize("precision", STORED)
def test_a_file_draws_just_what_training_drew(make_config, tmp_path, precision):
    config = make_config(base_precision=precision, mixed_precision="bf16", save_precision="fp32")
    training = set_up_run(config, tmp_path / "run")
    rng = torch.Generator().manual_seed(0)
    for parameter in training.model.trained.parameters():
        parameter.data = torch.randn(parameter.shape, generator=rng).bfloat16().float() * 0.1
    lora, _ = training.save_result(4)
    parts = open_parts(config.model, "bf16", lambda event: None)
    encode_with(parts, LoraFile(lora), [""])
    noisy, timestep = torch.randn(1, 4, 8, 8, generator=rng), torch.tensor([500])
    prompts = training.model.prompts[["a photo of sks dog"]].embeds
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        wanted = training.model.unet(noisy, timestep, prompts).sample
        found = parts.unet(noisy, timestep, prompts).sample
    assert torch.equal(found, wanted)


@pytest.mark.parametrize(
    ("family", "precision"), [("sd1", "int8"), ("sdxl", "fp8"), ("sdxl", "nf4")]
)
def test_the_plan_knows_the_stored_size_and_what_a_step_expands(
    make_config, tmp_path, family, precision
):
    config = make_config(family, base_precision=precision)
    training = set_up_run(config, tmp_path / "run")
    unet = training.parts.unet
    frozen = sum(p.nbytes for p in unet.parameters() if not p.requires_grad)
    assert sizes(config.model, torch.float32).unet == frozen
    with Meter(list(unet.parameters())) as meter:
        training.updater.add_gradients(1, [])
    predicted = training.updater.memory.plan["activations"]
    room = 12 * sum(parameter.numel() for parameter in training.model.trained.parameters())
    assert max(predicted, room) == pytest.approx(meter.peak_bytes, rel=0.15)


def test_class_images_of_another_precision_are_not_reused(make_config, tmp_path):
    config = make_config(class_prompt=CLASS_PROMPT, num_class_images=1)
    for precision in ("auto", "fp8"):
        set_up_run(changed(config, base_precision=precision), tmp_path / "runs" / precision)
    sets = list((tmp_path / "runs" / "cache").rglob("set.json"))
    assert len(sets) == 2
    assert sum("fp8" in path.read_text() for path in sets) == 1


def test_a_full_fine_tune_has_no_frozen_base(make_config):
    with pytest.raises(ConfigError, match="base_precision is nf4, but in a full fine-tune"):
        make_config(method="full", base_precision="nf4")


@pytest.mark.parametrize("precision", ["int8", "nf4"])
def test_without_bitsandbytes_the_remedies_are_named(make_config, tmp_path, monkeypatch, precision):
    def missing(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(libraries, "import_module", missing)
    with pytest.raises(ConfigError, match=f"{precision} needs bitsandbytes: No module") as raised:
        set_up_run(make_config(base_precision=precision), tmp_path / "run")
    assert "pip install bitsandbytes, or use base_precision fp8" in raised.value.hint


def test_a_device_without_such_numbers_is_named(make_config, tmp_path, monkeypatch):
    def unsupported(*_: Any) -> None:
        raise TypeError("Trying to convert Float8_e4m3fn to the MPS backend")

    monkeypatch.setattr("trainer.worker.base.weight_formats.Fp8.parts", unsupported)
    with pytest.raises(ConfigError, match="base_precision fp8 does not work on cpu: Trying"):
        set_up_run(make_config(base_precision="fp8"), tmp_path / "run")


def test_a_full_memory_is_not_taken_for_such_a_device(make_config, tmp_path, monkeypatch):
    def full(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 MiB.")

    monkeypatch.setattr("trainer.worker.base.weight_formats.Fp8.parts", full)
    with pytest.raises(torch.OutOfMemoryError):
        set_up_run(make_config(base_precision="fp8"), tmp_path / "run")


def test_layers_are_those_of_the_lora(tiny_checkpoint):
    base = models.open_base(ModelConfig(str(tiny_checkpoint("sd1")), base_precision="nf4"))
    unet = models.load_stored_unet(base, torch.bfloat16, CPU)
    layers = inject("lora_unet", unet, {"r": 2, "target_modules": ["to_q"]})
    assert layers and not any(layer.cast_input_dtype_enabled for layer in layers.values())


START = """
import sys
import trainer.worker.training.loop
assert sys.modules["bitsandbytes"] is None, "a start imports it"
from trainer.worker.device.libraries import load_library
found = load_library("bitsandbytes", setting="x", fallback="y")
assert found.functional and sys.modules["bitsandbytes"] is found
"""


def test_a_worker_imports_bitsandbytes_only_where_a_setting_needs_it_and_silently():
    done = subprocess.run(
        [sys.executable, "-c", START], env=worker_env(), capture_output=True, encoding="utf-8",
        timeout=300,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
