"""What is predicted of a step's memory, measured against the very tensors that a step keeps."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from tests.conftest import CLASS_PROMPT
from tests.worker.training.test_train import changed
from trainer.config.model import ModelConfig
from trainer.config.trained import TrainedConfig
from trainer.errors import ConfigError
from trainer.runs.control import Control
from trainer.runs.events import Event, Warning
from trainer.runs.run import Run
from trainer.worker.base.latents import encode_image
from trainer.worker.device.failures import Diverged
from trainer.worker.memory import costs, stepdown
from trainer.worker.memory import need as memory
from trainer.worker.memory.costs import NumberFormat, Step, step_cost
from trainer.worker.memory.meter import Meter, measure, without_contents
from trainer.worker.memory.need import Machine, Passes, choose_passes, training_memory
from trainer.worker.training.divergence import MAX_SKIPPED, LossWatch
from trainer.worker.training.job import Job
from trainer.worker.training.setup import set_up
from trainer.worker.training.training import Training

FLOAT32 = NumberFormat(torch.float32, "cpu")


def start(config: Any, folder: Any, events: list[Event] | None = None) -> Training:
    report = (lambda _: None) if events is None else events.append
    return set_up(Job(config, Run(folder / "runs" / "r"), False, report, Control()))


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
@pytest.mark.parametrize("choice", ["on", "off"])
def test_the_prediction_equals_the_tensors_of_a_real_step(make_config, tmp_path, family, choice):
    config = make_config(
        family, gradient_checkpointing=choice, class_prompt=CLASS_PROMPT, num_class_images=1,
        train_text_encoder=True,
    )  # fmt: skip
    training = start(config, tmp_path)
    encoders = training.model.text_encoders
    weights = [p for part in (training.model.unet, *encoders) for p in part.parameters()]
    with Meter(weights) as meter:
        training.updater.add_gradients(1, [])
    room = 12 * sum(parameter.numel() for parameter in training.model.trained.parameters())
    predicted = training.updater.memory.plan["activations"]
    assert max(predicted, room) == pytest.approx(meter.peak_bytes, rel=0.15)
    frozen = sum(p.nbytes for p in weights if not p.requires_grad)
    assert training.updater.memory.plan["weights"] >= frozen


def test_the_number_of_trained_weights_is_exact(make_config, tmp_path):
    for settings in ({"rank": 3}, {"rank": 8, "train_text_encoder": True}):
        config = make_config("sdxl", **settings)
        trained = start(config, tmp_path / str(len(settings))).model.trained.parameters()
        expected = sum(parameter.numel() for parameter in trained)
        found = costs.trained_sizes(config.model, config.trained, torch.bfloat16)
        assert found.trained_bytes == 4 * expected


def test_memory_grows_with_images_pixels_and_rank_and_falls_with_checkpointing(tiny_checkpoint):
    model = ModelConfig(str(tiny_checkpoint("sd1")))

    def peak(images: int = 1, side: int = 256, rank: int = 4, on: bool = False) -> int:
        return step_cost(
            Step(model, TrainedConfig(rank=rank), FLOAT32, images, side, on)
        ).peak_bytes

    assert peak(images=4) == pytest.approx(4 * peak(), rel=0.05)
    assert peak(side=512) == pytest.approx(4 * peak(), rel=0.05)  # attention is not materialised
    assert peak(rank=64) > peak()
    assert peak(on=True) < 0.6 * peak()


@pytest.mark.parametrize(
    ("method", "device", "more"),
    [("lora", "cuda", False), ("lora", "mps", True), ("full", "cuda", True)],
)
def test_norms_take_more_where_autocast_widens_them(tiny_checkpoint, method, device, more):
    model = ModelConfig(str(tiny_checkpoint("sd1")))
    cpu, gpu = (
        step_cost(
            Step(
                model,
                TrainedConfig(method=method, rank=4),
                NumberFormat(torch.bfloat16, name),
                1,
                256,
                False,
            )
        )
        for name in ("cpu", device)
    )
    assert cpu.peak_bytes < gpu.peak_bytes if more else cpu.peak_bytes == gpu.peak_bytes


def test_attention_of_an_apple_gpu_keeps_its_matrices(tiny_checkpoint):
    model = ModelConfig(str(tiny_checkpoint("sd1")))
    cpu, gpu = (
        step_cost(
            Step(model, TrainedConfig(rank=4), NumberFormat(torch.float32, name), 1, 512, False)
        ).peak_bytes
        for name in ("cpu", "mps")
    )
    assert gpu > 2 * cpu  # 4096 x 4096 numbers for each head


def test_living_bytes_and_operations_are_counted():
    layer = torch.nn.Linear(8, 16, bias=False, device="meta")

    def twice() -> None:
        first = layer(torch.zeros(4, 8))
        del first
        layer(torch.zeros(4, 8))

    with without_contents(layer):
        cost = measure(twice, layer)
    assert cost.peak_bytes == 4 * 4 * 8 + 4 * 4 * 16
    assert cost.flop == 2 * 2 * 4 * 8 * 16


@pytest.mark.parametrize("share", [0.5, 1.1])
def test_auto_turns_checkpointing_on_where_memory_is_short(make_config, share):
    config = make_config(resolution=256)
    free = Machine("cpu", torch.float32, 10**12)
    needed = sum(training_memory(config, free, Passes(1, checkpointing=False)).values())
    short = Machine("cpu", torch.float32, round(needed * share / memory.USABLE_SHARE))
    assert choose_passes(config, short) == Passes(1, checkpointing=share < 1)
    off = make_config(gradient_checkpointing="off")
    assert choose_passes(off, short) == Passes(1, checkpointing=False)


def test_a_step_is_split_before_activations_are_computed_again(make_config):
    """Two passes of one image take three quarters of the work of one with checkpointing."""
    config = make_config(resolution=256, class_prompt=CLASS_PROMPT, train_batch_size=2)
    expected = [Passes(n, mode) for mode in (False, True) for n in (4, 2, 1)]
    assert memory.ways(config) == expected
    assert memory.planned_ways(changed(config, gradient_checkpointing="off"), "cpu") == expected[:3]
    assert memory.ways(changed(config, gradient_checkpointing="on")) == expected[3:]
    assert memory.planned_ways(config, "mps") == expected[3:]
    plenty = Machine("cpu", torch.float32, 10**12)
    need = [sum(training_memory(config, plenty, way).values()) for way in expected]
    assert need[:3] == sorted(need[:3], reverse=True)
    for bound, chosen in zip(need[:3], expected[:3], strict=True):
        short = Machine("cpu", torch.float32, math.ceil(bound / memory.USABLE_SHARE))
        assert choose_passes(config, short) == chosen
    assert choose_passes(config, replace(plenty, free_bytes=0)) == expected[-1]


def test_a_run_that_will_not_fit_says_so_before_the_first_step(make_config, tmp_path, monkeypatch):
    monkeypatch.setattr(stepdown, "free_bytes", lambda device: -(10**9))
    events: list[Event] = []
    training = start(make_config(rank=16, train_batch_size=2), tmp_path, events)
    (warning,) = [e for e in events if isinstance(e, Warning) and e.code == "memory"]
    assert "Training needs about" in warning.message
    assert "base_precision fp8 saves" in warning.hint and "train_batch" not in warning.hint
    assert training.parts.unet.is_gradient_checkpointing
    assert training.started_event().memory_plan == training.updater.memory.plan
    training.update(1)


def test_latents_that_are_no_numbers_name_the_vae_and_the_photo(make_config, tmp_path, monkeypatch):
    def broken(vae: Any, pixels: Any) -> torch.Tensor:
        return encode_image(vae, pixels) * math.nan

    monkeypatch.setattr("trainer.worker.base.parts.encode_image", broken)
    with pytest.raises(
        ConfigError, match=r"VAE .*sd1_0.* produced NaN or infinite values for photo_0.png"
    ) as raised:
        start(make_config(), tmp_path)
    assert "Set vae" in raised.value.hint
    assert not list((tmp_path / "runs" / "cache").rglob("*.safetensors"))


def test_likely_causes_follow_from_what_was_seen():
    watch = LossWatch(torch.float32)
    for step in range(40):
        watch.saw(0.1 if step < 30 else 1.0, skipped=False)
    assert watch.grew()
    assert "lower learning_rate" in watch.diverged("x").hint
    assert "fp16" not in watch.diverged("x").hint
    calm = LossWatch(torch.float16)
    for step in range(40):
        calm.saw(0.1 + 0.3 * (step % 3), skipped=False)
    assert not calm.grew()
    assert "mixed_precision no, or bf16" in calm.diverged("x").hint


def test_updates_that_are_skipped_for_ever_end_the_run():
    watch = LossWatch(torch.float16)
    for _ in range(3):
        for _ in range(MAX_SKIPPED - 1):
            watch.saw(0.1, skipped=True)
        watch.saw(0.1, skipped=False)
    with pytest.raises(Diverged, match=f"{MAX_SKIPPED} steps in a row"):
        for _ in range(MAX_SKIPPED):
            watch.saw(0.1, skipped=True)


def test_a_loss_that_is_no_number_leaves_the_state_of_the_step_before(make_config, tmp_path):
    training = start(make_config(), tmp_path)
    training.update(1)
    before = training.model.trained.tensors()
    (images,) = training.updater.concepts[0].sets
    latents = images.images[0].latents
    for image in images.images:
        image.latents.fill_(math.nan)
    with pytest.raises(Diverged, match="loss became nan at step 2"):
        training.update(2)
    assert torch.isnan(latents).all()
    after = training.model.trained.tensors()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert [path.name for path in training.job.run.checkpoints.iterdir()] == ["step_000001"]


def test_a_failed_attempt_leaves_fp16s_scale_as_it_was(make_config, tmp_path):
    """Only what comes after the gradients, clipping and the update, touches the scaler."""
    config = make_config(gradient_checkpointing="on", train_batch_size=2)
    trainings = [start(config, tmp_path / name) for name in "ab"]
    found = []
    for training, fails in zip(trainings, (True, False), strict=True):
        accelerator, updater = training.accelerator, training.updater
        accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=256.0, growth_interval=2)
        accelerator.native_amp, accelerator.state._mixed_precision = True, "fp16"
        accelerator._optimizers.clear()
        updater.optimizer.prepared = accelerator.prepare_optimizer(updater.optimizer.inner)
        updater.memory.passes = Passes(1, checkpointing=True)
        calls: list[int] = []

        def fail_late(*_: Any, calls: list[int] = calls) -> None:
            calls.append(1)
            if len(calls) == 2:
                raise torch.OutOfMemoryError("CUDA out of memory.")

        if fails:
            updater.memory.passes = Passes(2, checkpointing=True)
            training.parts.unet.mid_block.register_forward_pre_hook(
                lambda _, args: fail_late() if len(args[0]) > 1 else None
            )
            calls.append(1)
        for step in (1, 2):
            training.update(step)
        found.append((accelerator.scaler.state_dict(), training.model.trained.tensors()))
    (scale, weights), (expected_scale, expected) = found
    assert scale == expected_scale and scale["scale"] == 512.0
    assert all(torch.equal(weights[name], expected[name]) for name in expected)
