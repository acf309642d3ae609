"""The LoRA file: layout, contents, and the same pictures in diffusers as in our own sampler."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import (
    DPMSolverMultistepScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
)
from PIL import Image
from safetensors.torch import load_file
from transformers import CLIPTokenizer

from tests.conftest import PROMPT
from tests.worker.training.test_train import run_training
from trainer.config.model import ModelConfig
from trainer.errors import ConfigError
from trainer.prompts.tokenizer import merge_ranks, vocabulary
from trainer.runs.control import Control
from trainer.runs.run import Run
from trainer.worker.base import models
from trainer.worker.base.parts import open_parts
from trainer.worker.base.weights import check_written
from trainer.worker.drawing.jobs import Pictures, sample_job
from trainer.worker.randomness import generator
from trainer.worker.trainable.apply import LoraFile, attach, encode_with
from trainer.worker.trainable.layer_names import by_layer
from trainer.worker.training.job import Job
from trainer.worker.training.setup import set_up
from trainer.worker.training.training import Training

TEXT_LAYERS = {
    "sd1": 3 * 6,
    "sd2": 2 * 6,
    "sdxl": (2 + 3) * 6,
}  # SDXL does not use its first encoder's last layer


def trained_lora(make_config, tmp_path, family: str, **values: object) -> tuple[Path, Path]:
    """A LoRA with strong random weights, so that any misplaced layer would show, and its base."""
    training, lora = random_training(make_config, tmp_path, family, **values)
    return lora, Path(training.config.model.base)


def random_training(make_config, tmp_path, family: str, **values: object) -> tuple[Training, Path]:
    config = make_config(family, train_text_encoder=True, save_precision="fp32", **values)
    job = Job(config, Run(tmp_path / "runs" / family), False, lambda event: None, Control())
    training = set_up(job)
    rng = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for _, parameter in training.model.trained.named_parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=rng) * 0.1)
    return training, training.save_result(1)[0]


def own_picture(base: Path, lora: Path | None, folder: Path, steps: int = 4) -> np.ndarray:
    events = []
    parts = open_parts(ModelConfig(str(base)), "no", events.append)
    pictures = Pictures([PROMPT], 1, "", 5.0, steps, 9, (64, 64), folder)
    sample_job(parts, pictures, None if lora is None else LoraFile(lora), Control())
    return np.asarray(Image.open(next(e.path for e in events if e.name == "sample")), dtype=float)


def pipeline(base: Path):
    """diffusers' own pipeline over the same parts."""
    opened = models.open_base(ModelConfig(str(base)))
    encoders = models.load_text_encoders(opened, torch.float32)
    scheduler = DPMSolverMultistepScheduler.from_config(
        models.load_noise_scheduler(opened).config, timestep_spacing="trailing"
    )
    parts = {
        "unet": models.load_unet(opened, torch.float32),
        "vae": models.load_vae(opened),
        "scheduler": scheduler,
        "text_encoder": encoders[0],
        "tokenizer": tokenizer(opened.family.text_encoders[0].pad_id),
    }
    if opened.family.name == "sdxl":
        second = {"text_encoder_2": encoders[1], "tokenizer_2": tokenizer(0)}
        return StableDiffusionXLPipeline(**parts, **second, force_zeros_for_empty_prompt=False)
    return StableDiffusionPipeline(
        **parts, safety_checker=None, feature_extractor=None, requires_safety_checker=False
    )


def tokenizer(pad_id: int | None) -> CLIPTokenizer:
    words = vocabulary() | {"<|startoftext|>": 49406, "<|endoftext|>": 49407}
    pad_token = "!" if pad_id == 0 else "<|endoftext|>"
    return CLIPTokenizer(
        vocab=words, merges=list(merge_ranks()), pad_token=pad_token, model_max_length=77
    )


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl"])
def test_diffusers_draws_the_same_picture_with_the_file(make_config, tmp_path, family):
    lora, base = trained_lora(make_config, tmp_path, family)
    ours = own_picture(base, lora, tmp_path / "ours")
    without = own_picture(base, None, tmp_path / "without")
    pipe = pipeline(base)
    pipe.load_lora_weights(str(lora))
    pipe.set_progress_bar_config(disable=True)
    noise = torch.randn((1, 4, 8, 8), generator=generator(9, "sample"))
    theirs = pipe(
        PROMPT, negative_prompt="", latents=noise, num_inference_steps=4, guidance_scale=5.0,
        height=64, width=64, output_type="np",
    ).images[0]  # fmt: skip
    assert np.abs(ours / 255 - theirs).max() <= 1e-3 + 0.5 / 255  # ours went through 8 bits
    assert np.abs(ours - without).mean() > 5


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl"])
def test_file_holds_down_up_and_alpha_of_every_layer(make_config, tmp_path, family):
    lora, base = trained_lora(make_config, tmp_path, family, alpha=2.0)
    weights = load_file(lora)
    names = {key.split(".")[0] for key in weights}
    assert weights.keys() == {
        f"{name}.{part}"
        for name in names
        for part in ("lora_down.weight", "lora_up.weight", "alpha")
    }
    text = {name for name in names if not name.startswith("lora_unet_")}
    assert len(text) == TEXT_LAYERS[family]
    prefixes = {name.split("_text_model_")[0] for name in text}
    assert prefixes == ({"lora_te1", "lora_te2"} if family == "sdxl" else {"lora_te"})
    assert {weights[f"{name}.alpha"].item() for name in names} == {2.0}
    unet = models.load_unet(models.open_base(ModelConfig(str(base))), torch.float32)
    blocks = sum(name.endswith(".attn1") for name, _ in unet.named_modules())
    assert len(names) - len(text) == 10 * blocks  # q, k, v, out of two attentions, two of GEGLU


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [("fp16", torch.float16), ("bf16", torch.bfloat16), ("fp32", torch.float32)],
)
def test_file_has_the_precision_that_was_asked_for(make_config, tmp_path, precision, dtype):
    last = run_training(make_config(save_precision=precision, max_train_steps=1), tmp_path / "r/r")
    weights = load_file(last[-1].result_path)
    assert {w.dtype for key, w in weights.items() if not key.endswith("alpha")} == {dtype}


def test_a_damaged_file_is_noticed_after_saving(make_config, tmp_path):
    lora, _ = trained_lora(make_config, tmp_path, "sd1")
    weights = load_file(lora)
    name = next(iter(weights))
    check_written(lora, weights)
    with pytest.raises(RuntimeError, match="damaged"):
        check_written(lora, {**weights, name: weights[name] + 1})
    with pytest.raises(RuntimeError, match="keys differ"):
        check_written(lora, {key: value for key, value in weights.items() if key != name})


def test_a_lora_of_another_family_is_refused(make_config, tmp_path):
    lora, _ = trained_lora(make_config, tmp_path, "sd1")
    _, other = trained_lora(make_config, tmp_path, "sd2")
    with pytest.raises(
        ConfigError, match="is a LoRA for SD 1.x, and .* is SD 2.x. Use it with the base"
    ):
        own_picture(other, lora, tmp_path / "x")


def test_strength_scales_the_lora(make_config, tmp_path):
    lora, base = trained_lora(make_config, tmp_path, "sd1")
    name = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
    answers = []
    for strength in (0.0, 0.5, 1.0):
        parts = open_parts(ModelConfig(str(base)), "no", lambda event: None)
        encode_with(parts, LoraFile(lora, strength), [""], Control().check)
        layer = parts.unet.get_submodule(name)
        answers.append(layer(torch.eye(layer.in_features)))
    half, whole = answers[1] - answers[0], answers[2] - answers[0]
    torch.testing.assert_close(half * 2, whole, atol=1e-6, rtol=1e-4)
    assert whole.abs().max() > 0.01


def test_in_half_precision_a_file_draws_just_what_training_drew(make_config, tmp_path):
    """Merged into the base's weights it would not: small differences are rounded away there."""
    training, lora = random_training(make_config, tmp_path, "sd1", mixed_precision="bf16")
    parts = open_parts(ModelConfig(training.config.model.base), "bf16", lambda event: None)
    encode_with(parts, LoraFile(lora), [""], Control().check)
    rng = torch.Generator().manual_seed(1)
    noisy, timestep = torch.randn(1, 4, 8, 8, generator=rng), torch.tensor([500])
    prompts = training.model.prompts[["a photo of sks dog"]].embeds
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        wanted = training.model.unet(noisy, timestep, prompts).sample
        found = parts.unet(noisy, timestep, prompts).sample
    assert torch.equal(found, wanted)


def test_layers_of_different_ranks_each_add_their_own_product():
    model = torch.nn.ModuleDict({name: torch.nn.Linear(4, 4) for name in "abc"})
    plain = {name: layer(torch.eye(4)) for name, layer in model.items()}
    rng = torch.Generator().manual_seed(0)
    weights, expected = {}, {}
    for name, rank in (("a", 1), ("b", 3), ("c", 1)):
        down, up = torch.randn(rank, 4, generator=rng), torch.randn(4, rank, generator=rng)
        layer = f"lora_unet_{name}"
        weights |= {f"{layer}.lora_down.weight": down, f"{layer}.lora_up.weight": up}
        weights |= {f"{layer}.alpha": torch.tensor(2.0)}
        expected[name] = plain[name] + 0.5 * 2.0 / rank * (up @ down).T
    layers = by_layer(weights)
    attach("lora_unet", model, layers, 0.5)
    assert layers == {}
    for name, value in expected.items():
        torch.testing.assert_close(model[name](torch.eye(4)), value)
