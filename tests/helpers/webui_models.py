"""Small random checkpoints that A1111 and Forge take, and LoRA files of full shape."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from benchmarks import random_checkpoint
from benchmarks.random_checkpoint import CLIP_L, OPEN_CLIP_G, UNetSize, make_text_encoder, make_unet
from trainer.config.trained import TrainedConfig
from trainer.model_files.families import FAMILIES
from trainer.prompts.tokenizer import merge_ranks, vocabulary
from trainer.worker.trainable.lora import UNET_PREFIX, file_name, wrap_layers

# A1111's table of LoRA names knows SD 1.5's four levels of two blocks alone.
A1111_UNET = UNetSize((32, 32, 64, 64), (1, 1, 1, 0), 2)
FORGE_UNET = UNetSize((320,), (1,), 1)  # Forge knows SD 1.5 by its first channels
CLIP = {
    "architectures": ["CLIPTextModel"], "model_type": "clip_text_model", "vocab_size": 49408,
    "hidden_size": 768, "intermediate_size": 128, "num_hidden_layers": 3,
    "num_attention_heads": 12, "max_position_embeddings": 77, "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-5, "projection_dim": 768, "bos_token_id": 0, "eos_token_id": 2,
    "pad_token_id": 1,
}  # fmt: skip


def a1111_config(clip: Path) -> dict[str, object]:
    """What A1111 reads next to a checkpoint whose shapes are not the usual ones."""
    unet = {
        "image_size": 32, "in_channels": 4, "out_channels": 4, "model_channels": 32,
        "attention_resolutions": [4, 2, 1], "num_res_blocks": 2, "channel_mult": [1, 1, 2, 2],
        "num_heads": 8, "use_spatial_transformer": True, "transformer_depth": 1,
        "context_dim": 768, "use_checkpoint": False, "legacy": False,
    }  # fmt: skip
    vae = {
        "double_z": True, "z_channels": 4, "resolution": 256, "in_channels": 3, "out_ch": 3,
        "ch": 32, "ch_mult": [1, 1, 1, 1], "num_res_blocks": 1, "attn_resolutions": [],
        "dropout": 0.0,
    }  # fmt: skip
    ldm = "ldm.modules"
    parts = {
        "unet_config": {"target": f"{ldm}.diffusionmodules.openaimodel.UNetModel", "params": unet},
        "first_stage_config": {
            "target": "ldm.models.autoencoder.AutoencoderKL",
            "params": {
                "embed_dim": 4, "monitor": "val/rec_loss", "ddconfig": vae,
                "lossconfig": {"target": "torch.nn.Identity"},
            },
        },
        "cond_stage_config": {
            "target": f"{ldm}.encoders.modules.FrozenCLIPEmbedder",
            "params": {"version": str(clip)},
        },
    }  # fmt: skip
    params = {
        "linear_start": 0.00085, "linear_end": 0.0120, "num_timesteps_cond": 1,
        "log_every_t": 200, "timesteps": 1000, "first_stage_key": "jpg", "cond_stage_key": "txt",
        "image_size": 64, "channels": 4, "cond_stage_trainable": False,
        "conditioning_key": "crossattn", "monitor": "val/loss_simple_ema",
        "scale_factor": 0.18215, "use_ema": False, **parts,
    }  # fmt: skip
    return {"model": {"target": "ldm.models.diffusion.ddpm.LatentDiffusion", "params": params}}


def save_for_a1111(models: Path) -> None:
    """A tiny checkpoint with the config and the tokenizer that A1111 needs for it."""
    clip, folder = models / "tiny-clip", models / "Stable-diffusion"
    clip.mkdir(parents=True)
    folder.mkdir(parents=True, exist_ok=True)
    words = vocabulary() | {"<|startoftext|>": 49406, "<|endoftext|>": 49407}
    pairs = [f"{first} {second}" for first, second in merge_ranks()]
    (clip / "vocab.json").write_text(json.dumps(words), "utf-8")
    (clip / "merges.txt").write_text("\n".join(["#version: 0.2", *pairs, ""]), "utf-8")
    (clip / "config.json").write_text(json.dumps(CLIP), "utf-8")
    (folder / "tiny.yaml").write_text(json.dumps(a1111_config(clip)), "utf-8")  # JSON is YAML
    save_with(A1111_UNET, folder / "tiny.safetensors", "tiny")


def save_for_forge(models: Path) -> None:
    """The smallest checkpoint that Forge takes for SD 1.5."""
    folder = models / "Stable-diffusion"
    folder.mkdir(parents=True, exist_ok=True)
    save_with(FORGE_UNET, folder / "tiny.safetensors", "host")


def save_with(unet: UNetSize, path: Path, size: str) -> None:
    usual = random_checkpoint.UNETS["sd1", size]
    random_checkpoint.UNETS["sd1", size] = unet
    try:
        random_checkpoint.save_checkpoint(path, "sd1", size)
    finally:
        random_checkpoint.UNETS["sd1", size] = usual


def save_full_extraction(path: Path, family: str) -> int:
    """A LoRA of zeros over every layer that one may be extracted for; gives their number.

    In half precision and of rank 1, it takes 100 MiB for SDXL.
    """
    kinds = FAMILIES[family].text_encoders
    encoders = [make_text_encoder(CLIP_L, projected=False, tiny=False)]
    if family == "sdxl":
        encoders.append(make_text_encoder(OPEN_CLIP_G, projected=True, tiny=False))
    models = {UNET_PREFIX: make_unet(family, "full")}
    models |= {kind.lora_prefix: model for kind, model in zip(kinds, encoders, strict=True)}
    weights: dict[str, torch.Tensor] = {}
    for prefix, model in models.items():
        for name, module in model.named_modules():
            if isinstance(module, (nn.Linear, nn.Conv2d)) and name != "text_projection":
                layer, (out, *rest) = file_name(prefix, name), module.weight.shape
                kernel = [1] * (len(rest) - 1)
                weights[f"{layer}.lora_up.weight"] = torch.zeros(out, 1, *kernel).half()
                weights[f"{layer}.lora_down.weight"] = torch.zeros(1, *rest).half()
                weights[f"{layer}.alpha"] = torch.tensor(1.0)
    save_file(weights, path)
    return len(weights) // 3


def save_full_lora(path: Path, family: str) -> int:
    """A LoRA of zeros over every layer that a full-size model's has; gives their number."""
    encoders = [make_text_encoder(CLIP_L, projected=False, tiny=False)]
    if family == "sdxl":
        encoders.append(make_text_encoder(OPEN_CLIP_G, projected=True, tiny=False))
    config = TrainedConfig(rank=1, train_text_encoder=True)
    trained = wrap_layers(FAMILIES[family], make_unet(family, "full"), encoders, config)
    weights = {name: torch.zeros(p.shape) for name, p in trained.named_parameters()}
    layers = {name.partition(".")[0] for name in weights}
    save_file(weights | {f"{name}.alpha": torch.tensor(1.0) for name in layers}, path)
    return len(layers)
