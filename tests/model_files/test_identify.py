"""What model files are told to be: tiny files of every kind."""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from trainer.errors import ConfigError
from trainer.model_files.identify import (
    describe,
    identify,
    predicts_velocity,
    require_base,
    require_vae,
)

from ..helpers.model_files import (
    CLIP_H,
    CLIP_L,
    KOHYA,
    KOHYA_TEXT,
    PEFT,
    SD1,
    SD2,
    SD2_NORM,
    SDXL,
    UNET,
    VAE,
    Shapes,
    kohya_lora,
    unet,
    without,
    write_model,
)
from ..helpers.published import published, vae_shapes, write_hole

Writer = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Writer:
    return lambda shapes, name="model.safetensors", **more: write_model(
        tmp_path / name, shapes, **more
    )


BASES = {
    "sd1": ("sd1", published("sd1")),
    "sd1 of 2022": (
        "sd1",
        {n.replace("transformer.text_model.", "transformer."): s
         for n, s in published("sd1").items()},
    ),
    "sd2": ("sd2", published("sd2")),
    "sdxl": ("sdxl", published("sdxl")),
    "sdxl with markers": ("sdxl", published("sdxl") | {"v_pred": (0,), "ztsnr": (0,)}),
}  # fmt: skip


@pytest.mark.parametrize(("family", "shapes"), BASES.values(), ids=BASES)
def test_base_models_are_accepted(family: str, shapes: Shapes, tmp_path: Path) -> None:
    path = write_hole(tmp_path / "model.safetensors", shapes)
    model = require_base(path)
    assert (model.kind, model.family) == ("checkpoint", family)
    assert (model.has_vae, model.has_text_encoder) == (True, True)
    assert describe(path).endswith("loads in: ComfyUI, A1111, Forge, diffusers")


REFUSED = {
    "inpainting": (unet(768, 9) | {CLIP_L: (1, 768)} | VAE, "an inpainting .9 input channels"),
    "pix2pix": (unet(768, 8) | {CLIP_L: (1, 768)} | VAE, "an InstructPix2Pix"),
    "depth": (unet(1024, 5) | {CLIP_H: (1, 1024)} | VAE, "a depth-guided SD 2.x"),
    "x4 upscaler": (unet(1024, 7) | {CLIP_H: (1, 1024)} | VAE, "an SD x4 upscaler"),
    "unclip": (unet(1024, labelled=True) | {CLIP_H: (1, 1024)} | VAE, "an SD 2.x unCLIP"),
    "refiner": (
        unet(1280, labelled=True) | {"conditioner.embedders.0.model.ln_final.bias": (1,)} | VAE,
        "an SDXL refiner checkpoint",
    ),
    "playground": (SDXL | {"edm_mean": (1,), "edm_std": (1,)}, "a Playground v2.5"),
    "cosxl": (SDXL | {"edm_vpred.sigma_max": ()}, "CosXL"),
    "lcm": (SD1 | {f"{UNET}time_embed.cond_proj.weight": (1, 1)}, "an LCM"),
    "svd": (
        unet(1024, 8, labelled=True)
        | {f"{UNET}input_blocks.1.1.time_stack.0.attn1.to_q.weight": (1, 1)}
        | VAE,
        "a Stable Video Diffusion checkpoint",
    ),
    "other width": (unet(640) | {CLIP_L: (1, 640)} | VAE, "a latent diffusion .text width 640"),
    "unlabelled sdxl": (without(SDXL, f"{UNET}label_emb"), "a latent diffusion .text width 2048"),
    "sd3": (
        {
            f"{UNET}joint_blocks.0.context_block.attn.qkv.weight": (1, 1),
            "text_encoders.clip_l.transformer.x": (1,),
        },
        "an SD3 checkpoint",
    ),
    "sd3 alone": (
        {"joint_blocks.0.context_block.attn.qkv.weight": (1, 1)},
        "an SD3 diffusion.*Use a complete SD 1",
    ),
    "flux": (
        {"double_blocks.0.img_attn.norm.key_norm.scale": (1,)},
        "a Flux diffusion.*Use a complete SD 1",
    ),
    "flux checkpoint": (
        {f"{UNET}double_blocks.0.img_attn.norm.key_norm.scale": (1,), "vae.encoder.x": (1,)},
        "a Flux checkpoint",
    ),
    "flux in diffusers layout": ({"single_transformer_blocks.0.norm.linear.bias": (1,)}, "a Flux"),
    "pixart": ({"t_block.1.weight": (1, 1)}, "a PixArt diffusion model"),
    "wan": ({"head.modulation": (1, 1)}, "a Wan diffusion model"),
    "cascade": ({"clf.1.weight": (1, 1)}, "a Stable Cascade"),
    "unet alone": (unet(768, prefix=""), "an SD 1.x U-Net without text encoder or VAE"),
    "unet alone with prefix": (unet(2048, labelled=True), "an SDXL U-Net without"),
    "diffusers unet": (
        {
            "conv_in.weight": (1, 4, 1, 1),
            "up_blocks.0.resnets.0.norm1.bias": (1,),
            "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight": (1, 768),
        },
        "an SD 1.x U-Net in diffusers layout",
    ),
    "vae": ({"decoder.conv_in.weight": (1, 4, 1, 1)}, "a VAE with 4 latent channels"),
    "tiny vae": ({"taesd_decoder.1.weight": (1, 16, 1, 1)}, "a VAE with 16 latent channels"),
    "video vae": ({"decoder.conv_in.conv.weight": (1, 4, 1, 1, 1)}, "a video VAE"),
    "clip": ({"text_model.embeddings.token_embedding.weight": (1, 768)}, "a CLIP text encoder"),
    "clip vision": ({"vision_model.post_layernorm.bias": (1,)}, "a CLIP vision model"),
    "t5": ({"encoder.block.0.layer.0.SelfAttention.k.weight": (1, 1)}, "a T5 text encoder"),
    "lora": (kohya_lora(768), "a LoRA for SD 1.x.*give the checkpoint that it was made for"),
    "controlnet": ({"controlnet_cond_embedding.conv_in.weight": (1, 3, 1, 1)}, "a ControlNet"),
    "old controlnet": ({"control_model.input_hint_block.0.bias": (1,)}, "a ControlNet"),
    "control-lora": (
        {"lora_controlnet": (1,), "input_blocks.0.0.weight": (2, 4, 1, 1)},
        "a Control-LoRA",
    ),
    "t2i-adapter": ({"body.0.in_conv.weight": (1, 1, 1, 1)}, "a T2I-Adapter"),
    "ip-adapter": ({"image_proj.proj.weight": (1, 1)}, "an IP-Adapter"),
    "motion": ({"down_blocks.0.motion_modules.0.x.weight": (1, 1)}, "an AnimateDiff motion"),
    "embedding": ({"emb_params": (3, 768)}, "a textual inversion embedding for SD 1.x"),
    "sdxl embedding": ({"clip_l": (1, 768), "clip_g": (1, 1280)}, "embedding for SDXL"),
    "upscaler": ({"model.0.weight": (1, 3, 1, 1)}, "an upscaler"),
    "unknown": ({"a": (1,), "b": (2,)}, "a safetensors file of an unknown model"),
    "empty": ({}, "a safetensors file of an unknown model"),
}


@pytest.mark.parametrize(("shapes", "message"), REFUSED.values(), ids=REFUSED)
def test_other_models_are_named_and_refused(shapes: Shapes, message: str, write: Writer) -> None:
    path = write(shapes)
    with pytest.raises(ConfigError, match=message) as caught:
        require_base(path)
    assert str(path) in caught.value.message
    assert describe(path).startswith("model.safetensors: ")


@pytest.mark.parametrize("shapes", [SD1, SD2, SDXL], ids=["sd1", "sd2", "sdxl"])
def test_missing_text_encoder_is_named(shapes: Shapes, write: Writer) -> None:
    path = write(without(shapes, "cond_stage_model.", "conditioner.embedders.1."))
    with pytest.raises(ConfigError, match="without text encoder;"):
        require_base(path, vae_given=True)


def test_missing_vae_is_fine_where_another_is_given(tmp_path: Path) -> None:
    path = write_hole(tmp_path / "model.safetensors", published("sdxl", vae=False))
    with pytest.raises(ConfigError, match="an SDXL checkpoint without VAE.*vae setting"):
        require_base(path)
    assert not require_base(path, vae_given=True).has_vae


def test_decoder_alone_is_no_vae(write: Writer) -> None:
    with pytest.raises(ConfigError, match="without VAE"):
        require_base(write(without(SD1, "first_stage_model.encoder")))


def test_vae_file_needs_four_latent_channels(write: Writer, tmp_path: Path) -> None:
    require_vae(write_hole(tmp_path / "vae.safetensors", vae_shapes()))
    bare = {name.removeprefix("first_stage_model."): s for name, s in vae_shapes().items()}
    require_vae(write_hole(tmp_path / "bare.safetensors", bare))
    require_vae(write_hole(tmp_path / "whole.safetensors", published("sd1")))
    with pytest.raises(ConfigError, match="cannot be used: its VAE lacks 67 tensors.*Use another"):
        require_vae(write({"decoder.conv_in.weight": (512, 4, 3, 3)}))
    with pytest.raises(ConfigError, match="16 latent channels.*Use a VAE of SD 1.x"):
        require_vae(write({"decoder.conv_in.weight": (1, 16, 1, 1)}))
    with pytest.raises(ConfigError, match="a LoRA for SD 1.x"):
        require_vae(write(kohya_lora(768)))


LORAS = {
    "kohya sd1": (kohya_lora(768), "kohya", "LoRA", "sd1"),
    "kohya sd2": (kohya_lora(1024), "kohya", "LoRA", "sd2"),
    "kohya sdxl": (kohya_lora(2048), "kohya", "LoRA", "sdxl"),
    "kohya text sd1": ({f"{KOHYA_TEXT}.lora_down.weight": (4, 768)}, "kohya", "LoRA", "sd1"),
    "kohya text sd2": ({f"{KOHYA_TEXT}.lora_down.weight": (4, 1024)}, "kohya", "LoRA", "sd2"),
    "kohya text sdxl": ({"lora_te2_x.lora_down.weight": (4, 8)}, "kohya", "LoRA", "sdxl"),
    "peft": ({f"{PEFT}.to_k.lora_A.weight": (4, 2048)}, "peft", "LoRA", "sdxl"),
    "diffusers": (
        {f"{PEFT}.processor.to_k_lora.down.weight": (4, 768)},
        "diffusers",
        "LoRA",
        "sd1",
    ),
    "diffusers linear": (
        {f"{PEFT}.to_k.lora_linear_layer.down.weight": (4, 768)},
        "diffusers",
        "LoRA",
        "sd1",
    ),
    "loha": (
        {f"{KOHYA}.hada_w1_a": (2, 4), f"{KOHYA}.hada_w1_b": (4, 2048)},
        "kohya",
        "LoHa",
        "sdxl",
    ),
    "peft dora": (
        {f"{PEFT}.to_k.lora_A.weight": (4, 768), f"{PEFT}.to_k.lora_magnitude_vector": (2,)},
        "peft",
        "DoRA",
        "sd1",
    ),
    "dora": (
        kohya_lora(768) | {f"{KOHYA}.dora_scale": (2, 1)},
        "kohya",
        "DoRA",
        "sd1",
    ),
}


@pytest.mark.parametrize(("shapes", "layout", "algorithm", "family"), LORAS.values(), ids=LORAS)
def test_lora_layout_rank_and_family(
    shapes: Shapes, layout: str, algorithm: str, family: str, write: Writer
) -> None:
    model = identify(write(shapes))
    assert model.lora is not None
    assert (model.kind, model.family, model.lora.ranks) == ("lora", family, (4,))
    assert (model.lora.layout, model.lora.algorithm) == (layout, algorithm)


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("lora_unet_double_blocks_0_img_attn_proj.lora_down.weight", "a LoRA for Flux"),
        ("transformer.single_transformer_blocks.0.attn.to_k.lora_A.weight", "a LoRA for Flux"),
        ("lora_unet_joint_blocks_0_x_block_attn_proj.lora_down.weight", "a LoRA for SD3"),
        ("blocks.0.attn.to_k.lora_A.weight", "a LoRA for an unknown model"),
    ],
)
def test_lora_of_another_model_is_named(name: str, title: str, write: Writer) -> None:
    model = identify(write({name: (4, 768)}, metadata={"ss_base_model_version": "other"}))
    assert (model.description, model.family) == (title, None)


def test_flux_lora_with_text_encoder_is_no_sdxl_lora(write: Writer) -> None:
    names = ("lora_unet_single_blocks_0_linear1", "lora_te1_x", "lora_te2_x")
    model = identify(write({f"{name}.lora_down.weight": (4, 768) for name in names}))
    assert model.description == "a LoRA for Flux"


def test_lokr_family_comes_from_its_metadata(write: Writer) -> None:
    shapes: Shapes = {f"{KOHYA}.lokr_w1": (2, 2), f"{KOHYA}.lokr_w2": (2, 2)}
    model = identify(write(shapes, metadata={"ss_base_model_version": "sdxl_base_v1-0"}))
    assert (model.description, model.family) == ("a LoKr for SDXL", "sdxl")
    assert identify(write(shapes)).family is None


def test_alphas_and_ranks_are_read_from_the_tensors(write: Writer) -> None:
    other = {f"lora_unet_x.{part}": shape for part, shape in (("lora_down.weight", (8, 2)),)}
    values = {f"{KOHYA}.alpha": struct.pack("<f", 2.5)}
    model = identify(write(kohya_lora(768) | other, values=values))
    assert model.lora is not None
    assert (model.lora.ranks, model.lora.alphas) == ((4, 8), (2.5,))


def test_description_of_a_lora(write: Writer, tmp_path: Path) -> None:
    metadata = {"ss_output_name": "my\x1b[31mdog\n", "modelspec.description": "d" * 300}
    path = write(kohya_lora(768), "dog.safetensors", metadata=metadata)
    (tmp_path / "dog.json").write_text('{"activation text": "a photo of sks dog"}')
    assert describe(path).splitlines() == [
        "dog.safetensors: a LoRA for SD 1.x",
        "size: 0.0 MiB, 3 tensors (3 F32)",
        "layout: kohya",
        "rank: 4",
        "alpha: 0",
        "loads in: ComfyUI, A1111, Forge, diffusers",
        "ss_output_name: my [31mdog ",
        "modelspec.description: " + "d" * 200 + "...",
        "activation text: a photo of sks dog",
    ]


def test_description_of_a_checkpoint(tmp_path: Path) -> None:
    others = {"v_pred": (0,), "alphas_cumprod": (1000,), "model_ema.decay": ()}
    path = write_hole(tmp_path / "model.safetensors", published("sdxl") | others)
    assert describe(path).splitlines()[2:] == [
        "predicts: velocity",
        "not used: 1 alphas_cumprod, 1 model_ema",
        "loads in: ComfyUI, A1111, Forge, diffusers",
    ]


def test_velocity_marks(write: Writer) -> None:
    assert predicts_velocity(write(SDXL | {"v_pred": (0,)})) is True
    assert predicts_velocity(write(SDXL)) is False
    assert predicts_velocity(write(SD1)) is False
    assert predicts_velocity(write(SD2)) is None
    assert predicts_velocity(write(kohya_lora(768))) is None
    stated = {"modelspec.prediction_type": "v"}
    assert predicts_velocity(write(SDXL, metadata=stated)) is True
    assert predicts_velocity(write(SD2, metadata={"modelspec.prediction_type": "epsilon"})) is False


@pytest.mark.parametrize(
    ("text", "velocity"),
    [
        ('model:\n  params:\n    parameterization: "v"\n', True),
        ("target: sgm.modules.diffusionmodules.denoiser_scaling.VScaling\n", True),
        ('parameterization: "eps"\n', False),
        ("parameterization: velvet\n", False),
    ],
)
def test_velocity_is_read_from_the_text_beside_the_file(
    text: str, velocity: bool, write: Writer
) -> None:
    path = write(SD1)
    path.with_suffix(".yaml").write_text(text)
    assert predicts_velocity(path) is velocity
    write(SD1, metadata={"modelspec.prediction_type": "epsilon"})
    assert predicts_velocity(path) is False


@pytest.mark.parametrize(("spread", "velocity"), [(0.1, True), (0.08, False)])
def test_sd2_velocity_is_measured(spread: float, velocity: bool, write: Writer) -> None:
    values = {SD2_NORM: struct.pack("<4f", 1 + spread, 1 - spread, 1 + spread, 1 - spread)}
    path = write(SD2 | {SD2_NORM: (4,)}, values=values, metadata={"modelspec.prediction_type": "v"})
    assert predicts_velocity(identify(path)) is velocity


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_any_shapes_end_in_an_answer(family: str, tmp_path: Path) -> None:
    """Valid files whose tensors have the right names and the wrong shapes."""
    rng = random.Random(9)
    path = tmp_path / "model.safetensors"
    names = [*(SD1 if family == "sd1" else SDXL), *kohya_lora(768), SD2_NORM, "clip_l", "emb"]
    names += ["decoder.conv_in.weight", "conv_in.weight", "up_blocks.0.x", "lora_te_q_proj.lora_A"]
    for _ in range(500):
        chosen = rng.sample(names, rng.randint(1, 6))
        shapes: Shapes = {
            name: tuple(rng.choices([0, 1, 4, 77], k=rng.randint(0, 4))) for name in chosen
        }
        small = {name: shape for name, shape in shapes.items() if math.prod(shape) < 10_000}
        assert describe(write_model(path, small)).startswith("model.safetensors: ")
