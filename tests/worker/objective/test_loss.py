"""The loss and the LoRA gradients equal an independent computation in plain PyTorch.

The reference shares nothing with the trainer but the frozen weights, the images and the noise: it
adds the LoRA to the weights themselves, noises by its own schedule, encodes its own conditioning,
and takes the paper's two means.
"""

from __future__ import annotations

import math

import pytest
import torch
from PIL import Image
from torch.func import functional_call

from tests.conftest import CLASS_PROMPT, PROMPT
from trainer.runs.control import Control
from trainer.runs.run import Run
from trainer.worker.base import models
from trainer.worker.base.prompts import encode_prompts
from trainer.worker.data.batches import step_batches
from trainer.worker.training.job import Job
from trainer.worker.training.setup import set_up

SIZES = {"photo_0.png": (96, 80), "photo_1.png": (80, 120), "photo_2.png": (100, 100)}


def start(config, tmp_path):
    training = set_up(
        Job(config, Run(tmp_path / "runs" / "r"), False, lambda event: None, Control())
    )
    rng = torch.Generator().manual_seed(7)
    for (
        parameter
    ) in training.model.trained.parameters():  # a LoRA of zeros would hide wrong gradients
        parameter.data = torch.randn(parameter.shape, generator=rng) * 0.05
    return training


def alphas_cumprod():
    betas = [
        (math.sqrt(0.00085) + i / 999 * (math.sqrt(0.012) - math.sqrt(0.00085))) ** 2
        for i in range(1000)
    ]
    alphas, product = [], 1.0
    for beta in betas:
        product *= 1 - beta
        alphas.append(product)
    return alphas


def lora_layers(training):
    """Every LoRA layer by its name in the file."""
    parts = training.model.trained.parts
    return {name: layer for part in parts for name, layer in part.layers.items()}


def plain_loss(training, batch, class_weight, has_classes):
    """Eq. 1 of the paper by hand, differentiable in the LoRA's matrices."""
    config, family = training.config, training.model.family.name
    layers = lora_layers(training)
    base = models.load_unet(training.parts.base, torch.float32)
    scale = config.trained.effective_alpha / config.trained.rank
    weights = dict(base.named_parameters())
    matrices = {}
    for name, module in base.named_modules():
        key = "lora_unet_" + name.replace(".", "_")
        if key in layers:
            layer = layers[key]
            down = layer.lora_A["default"].weight.detach().clone().requires_grad_()
            up = layer.lora_B["default"].weight.detach().clone().requires_grad_()
            matrices[key] = (down, up)
            weights[f"{name}.weight"] = module.weight + scale * up @ down
    encoders = models.load_text_encoders(training.parts.base, torch.float32)
    errors = {False: [], True: []}
    alphas = alphas_cumprod()
    for row in range(len(batch.latents)):
        is_class = bool(batch.is_class[row])
        x, noise, t = batch.latents[row], batch.noise[row], int(batch.timesteps[row])
        noisy = math.sqrt(alphas[t]) * x + math.sqrt(1 - alphas[t]) * noise
        with torch.no_grad():
            embeds = encode_prompts(
                training.model.family, encoders, [CLASS_PROMPT if is_class else PROMPT]
            )
        conditions = {}
        if family == "sdxl":
            time_ids = batch.time_ids[row][None]
            conditions = {"added_cond_kwargs": {"text_embeds": embeds.pooled, "time_ids": time_ids}}
        (predicted,) = functional_call(
            base,
            weights,
            (noisy[None], torch.tensor([t]), embeds.embeds),
            {**conditions, "return_dict": False},
        )
        target = noise
        if config.model.prediction_type == "v_prediction":
            target = math.sqrt(alphas[t]) * noise - math.sqrt(1 - alphas[t]) * x
        if is_class and config.concepts[0].prior.prior_target == "prediction":
            with torch.no_grad():
                target = base(noisy[None], t, embeds.embeds, **conditions).sample[0]
        errors[is_class].append(((predicted[0] - target) ** 2).mean())
    loss = torch.stack(errors[False]).mean()
    if has_classes:
        loss = loss + class_weight * torch.stack(errors[True]).mean()
    return loss, matrices


@pytest.mark.parametrize("with_classes", [False, True])
@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize(
    ("family", "prediction"),
    [("sd1", "epsilon"), ("sd2", "v_prediction"), ("sdxl", "epsilon"), ("sdxl", "v_prediction")],
)
def test_loss_and_gradients_equal_the_two_mean_formula(
    make_config, tmp_path, family, prediction, batch_size, with_classes
):
    config = make_config(
        family,
        prediction_type=prediction,
        train_batch_size=batch_size,
        class_prompt=CLASS_PROMPT if with_classes else "",
        num_class_images=2,
        prior_loss_weight=0.7,
        alpha=3.0,
    )
    training = start(config, tmp_path)
    loss = sum(loss for loss, *_ in training.updater.window_losses(0))
    loss.backward()
    assert_equal_to_plain(training, loss, with_classes)


def assert_equal_to_plain(training, loss, with_classes=True):
    """Hold a step's loss and the gradients that it left against the independent computation."""
    (batch,) = step_batches(training.updater.concepts, training.config.training, 0)
    images = training.config.training.train_batch_size * (2 if with_classes else 1)
    assert len(batch.latents) == images
    expected, matrices = plain_loss(training, batch, 0.7, with_classes)
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), abs=1e-5)
    layers = lora_layers(training)
    assert len(matrices) == len(layers)
    for name, (down, up) in matrices.items():
        layer = layers[name]
        torch.testing.assert_close(
            layer.lora_A["default"].weight.grad, down.grad, atol=1e-5, rtol=1e-3
        )
        torch.testing.assert_close(
            layer.lora_B["default"].weight.grad, up.grad, atol=1e-5, rtol=1e-3
        )


@pytest.mark.parametrize(
    ("family", "prediction"), [("sd1", "epsilon"), ("sd2", "v_prediction"), ("sdxl", "epsilon")]
)
def test_the_base_itself_can_be_the_target_of_class_images(
    make_config, tmp_path, family, prediction
):
    config = make_config(
        family,
        prediction_type=prediction,
        train_batch_size=2,
        class_prompt=CLASS_PROMPT,
        num_class_images=2,
        prior_loss_weight=0.7,
        prior_target="prediction",
        alpha=3.0,
    )
    training = start(config, tmp_path)
    loss = sum(loss for loss, *_ in training.updater.window_losses(0))
    loss.backward()
    assert_equal_to_plain(training, loss)


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_a_base_that_learnt_nothing_is_its_own_target(make_config, tmp_path, family):
    config = make_config(
        family,
        class_prompt=CLASS_PROMPT,
        num_class_images=2,
        prior_target="prediction",
        train_text_encoder=True,
    )
    training = start(config, tmp_path)
    layers = lora_layers(training)
    for name, layer in layers.items():
        if name.startswith("lora_unet"):
            layer.lora_B["default"].weight.data.zero_()
    ((_, seen),) = training.updater.window_losses(0)
    # The text encoders have moved, and the target has not.
    assert seen.error[seen.is_class].max() > 1e-6
    for layer in layers.values():
        layer.lora_B["default"].weight.data.zero_()
    ((_, seen),) = training.updater.window_losses(0)
    assert seen.error[seen.is_class].max() < 1e-10 < seen.error[~seen.is_class].min()


def test_sdxl_conditioning_is_each_images_own_size_and_crop(make_config, tmp_path):
    config = make_config("sdxl", class_prompt=CLASS_PROMPT, num_class_images=2, crop_mode="center")
    training = start(config, tmp_path)
    expected = {}
    for name, (width, height) in SIZES.items():
        scale = 64 / min(width, height)
        left, top = (round(side * scale) - 64 for side in (width, height))
        expected[name] = (height, width, top // 2, left // 2, 64, 64)
    found = [image.time_ids for image in training.updater.concepts[0].sets[0].images]
    assert found == list(expected.values())
    assert {image.time_ids for image in training.updater.concepts[0].sets[1].images} == {
        (64, 64, 0, 0, 64, 64)
    }


def test_class_images_of_the_users_own_keep_their_own_conditioning(make_config, tmp_path):
    folder = tmp_path / "classes"
    folder.mkdir()
    Image.new("RGB", (128, 64), "red").save(folder / "a.png")
    config = make_config(
        "sdxl", class_prompt=CLASS_PROMPT, num_class_images=1, class_images=str(folder)
    )
    training = start(config, tmp_path)
    assert [image.time_ids for image in training.updater.concepts[0].sets[1].images] == [
        (64, 128, 0, 32, 64, 64)
    ]


def test_class_images_see_the_class_prompt(make_config, tmp_path):
    training = start(make_config(class_prompt=CLASS_PROMPT, num_class_images=2), tmp_path)
    assert {image.prompt for image in training.updater.concepts[0].sets[1].images} == {CLASS_PROMPT}
    assert {image.prompt for image in training.updater.concepts[0].sets[0].images} == {PROMPT}
