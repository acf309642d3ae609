"""Full fine-tunes of tiny real models: their gradients, their checkpoints and their files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from tests.worker.base.test_models import save_folder
from tests.worker.training.test_train import (
    assert_identical,
    changed,
    newest_state,
    run_training,
)
from trainer.config.model import ModelConfig
from trainer.errors import ConfigError
from trainer.runs.control import Control
from trainer.runs.run import Run
from trainer.worker.base import models
from trainer.worker.base.prompts import encode_prompts
from trainer.worker.data.batches import step_batches
from trainer.worker.training.job import Job
from trainer.worker.training.optimizer_kinds import OPTIMIZERS
from trainer.worker.training.setup import set_up

FULL = {"method": "full", "train_text_encoder": True, "learning_rate": 1e-4}


def set_up_run(config, folder):
    return set_up(Job(config, Run(folder), False, lambda event: None, Control()))


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl"])
def test_gradients_and_update_equal_an_independent_computation(make_config, tmp_path, family):
    config = make_config(family, **FULL, max_grad_norm=1000.0)
    training = set_up_run(config, tmp_path / "run")
    base = models.open_base(config.model)
    unet = models.load_unet(base, torch.float32).requires_grad_(True)
    encoders = models.load_text_encoders(base, torch.float32)
    plain = {f"unet.{name}": p for name, p in unet.named_parameters()}
    for kind, encoder in zip(base.family.text_encoders, encoders, strict=True):
        encoder.requires_grad_(True)
        plain |= {f"{kind.folder}.{name}": p for name, p in encoder.named_parameters()}
    (batch,) = step_batches(training.updater.concepts, config.training, 0)
    prompts = encode_prompts(base.family, encoders, batch.prompts)
    extra = {"text_embeds": prompts.pooled, "time_ids": batch.time_ids}
    scheduler = models.load_noise_scheduler(base)
    noisy = scheduler.add_noise(batch.latents, batch.noise, batch.timesteps)
    found = unet(noisy, batch.timesteps, prompts.embeds, added_cond_kwargs=extra).sample
    velocity = scheduler.get_velocity(batch.latents, batch.noise, batch.timesteps)
    target = velocity if base.predicts_velocity else batch.noise
    ((found - target) ** 2).mean().backward()

    training.updater.gradients(1)
    trained = dict(training.model.trained.named_parameters())
    unused = {name for name, p in plain.items() if p.grad is None}
    assert trained.keys() >= plain.keys() - unused
    largest = max(float(p.grad.abs().max()) for p in plain.values() if p.grad is not None)
    for name in plain.keys() - unused:
        torch.testing.assert_close(
            trained[name].grad, plain[name].grad, rtol=1e-4, atol=1e-6 * largest
        )
        plain[name].grad = trained[name].grad.clone()
    torch.optim.AdamW(plain.values(), lr=1e-4, weight_decay=0.01).step()
    training.updater.optimizer.zero_grad()
    training.update(1)
    for name in plain.keys() - unused:
        torch.testing.assert_close(trained[name], plain[name], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("method", ["full", "lora"])
def test_four_steps_equal_two_and_two_after_a_stop(make_config, tmp_path, optimizer, method):
    config = make_config(
        **FULL | {"method": method}, optimizer=optimizer, rank=64, text_encoder_train_steps=3
    )
    run_training(config, tmp_path / "straight")
    run_training(config, tmp_path / "stopped", stop_after=2)
    run_training(config, tmp_path / "stopped", resume=True)
    assert_identical(newest_state(tmp_path / "straight"), newest_state(tmp_path / "stopped"))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_state_is_as_large_as_was_said(make_config, tmp_path, optimizer):
    config = make_config(**FULL, optimizer=optimizer)
    training = set_up_run(config, tmp_path / "run")
    said = training.updater.optimizer.num_bytes()
    training.update(1)
    found = sum(value.nbytes for value in training.updater.optimizer.tensors().values())
    assert found == pytest.approx(said, rel=0.01)


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl"])
@pytest.mark.parametrize("as_file", [True, False])
def test_the_file_is_the_base_with_the_trained_weights(make_config, tmp_path, family, as_file):
    config = make_config(family, **FULL, save_precision="fp32")
    if not as_file:
        folder = save_folder(Path(config.model.base), tmp_path / "folder")
        config = changed(config, base=str(folder))
    end = run_training(config, tmp_path / "run")[-1]
    assert (end.result_kind, end.step) == ("checkpoint", 4)
    base, found = models.open_base(config.model), load_file(end.result_path)
    result = models.open_base(ModelConfig(end.result_path))
    assert (result.family.name, result.prediction_type) == (family, base.prediction_type)
    if as_file:
        assert found.keys() == load_file(base.path).keys()
    state = load_file(
        sorted((tmp_path / "run" / "checkpoints").iterdir())[-1] / "trained.safetensors"
    )
    unet = dict(models.load_unet(result, torch.float32).named_parameters())
    for name, value in unet.items():
        assert torch.equal(value, state[f"unet.{name}"]), name
    for kind, encoder, old in zip(
        base.family.text_encoders,
        models.load_text_encoders(result, torch.float32),
        models.load_text_encoders(base, torch.float32),
        strict=True,
    ):
        before = dict(old.named_parameters())
        for name, value in encoder.named_parameters():
            assert torch.equal(value, state.get(f"{kind.folder}.{name}", before[name])), name
    vae, old_vae = models.load_vae(result), dict(models.load_vae(base).named_parameters())
    assert all(torch.equal(value, old_vae[name]) for name, value in vae.named_parameters())


def test_the_file_says_what_it_is(make_config, tmp_path):
    end = run_training(make_config(**FULL), tmp_path / "run")[-1]
    with safe_open(end.result_path, framework="pt") as file:
        metadata = file.metadata()
        assert {str(file.get_tensor(name).dtype) for name in file.keys()} == {"torch.float16"}  # noqa: SIM118
    assert metadata["modelspec.architecture"] == "stable-diffusion-v1"
    assert not any(name.startswith("ss_") for name in metadata)


def test_a_second_result_gets_a_number_and_never_replaces_the_first(make_config, tmp_path):
    paths = [run_training(make_config(**FULL), tmp_path / n)[-1].result_path for n in ("a", "b")]
    assert [path.rpartition("/")[2] for path in paths] == ["dog.safetensors", "dog_2.safetensors"]


def test_text_encoders_are_trained_until_the_step_that_was_set(make_config, tmp_path):
    config = make_config(
        **FULL, text_encoder_train_steps=2, save_every=1, checkpoints_total_limit=9
    )
    run_training(config, tmp_path / "run")
    states = [
        load_file(folder / "trained.safetensors")
        for folder in sorted((tmp_path / "run" / "checkpoints").iterdir())
    ]
    for name, second in states[1].items():
        is_text = name.startswith("text_encoder.")
        assert torch.equal(second, states[3][name]) == is_text, name


def test_only_the_chosen_layers_are_trained(make_config, tmp_path):
    for method, mark in (("full", "unet.mid_block."), ("lora", "lora_unet_mid_block_")):
        config = make_config(method=method, train_layers="mid_block.*", max_train_steps=1)
        run_training(config, tmp_path / method)
        names = [
            n
            for n in newest_state(tmp_path / method)
            if not n.endswith((".step", "exp_avg", "exp_avg_sq"))
        ]
        assert names and all(name.startswith(mark) for name in names)


@pytest.mark.parametrize(
    ("patterns", "said"),
    [
        ("mid_blok.*", "no layer of the U-Net is called 'mid_blok.\\*'"),
        ("conv_in", "a LoRA can be put on"),
    ],
)
def test_layers_that_do_not_exist_are_named(make_config, tmp_path, patterns, said):
    with pytest.raises(ConfigError, match=said):
        set_up_run(make_config(train_layers=patterns), tmp_path / "run")


def test_a_full_fine_tune_learns_in_half_precision_too(make_config, tmp_path):
    config = make_config(**FULL, mixed_precision="bf16", max_train_steps=2)
    training = set_up_run(config, tmp_path / "run")
    assert {p.dtype for p in training.model.trained.parameters()} == {torch.float32}
    before = {name: value.clone() for name, value in training.model.trained.tensors().items()}
    training.update(1)
    moved = [not torch.equal(v, before[n]) for n, v in training.model.trained.tensors().items()]
    assert sum(moved) > 0.9 * len(moved)
