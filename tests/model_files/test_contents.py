"""Every tensor of a checkpoint has its place, or the file is refused at once and by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainer.errors import ConfigError
from trainer.model_files.identify import describe, identify, require_base

from ..helpers.model_files import UNET, Shapes, kohya_lora, without, write_model
from ..helpers.published import published, write_hole

LINEAR = f"{UNET}middle_block.1.proj_in"
PROJECTION = "conditioner.embedders.1.model.text_projection"
TEXT = "conditioner.embedders.0.transformer.text_model."
SDXL = published("sdxl")


def one_more_up() -> Shapes:
    start = f"{UNET}output_blocks.8."
    block = {name.replace(start, f"{UNET}output_blocks.9."): shape
             for name, shape in SDXL.items() if name.startswith(start)}  # fmt: skip
    return SDXL | block


MISFITS: dict[str, tuple[Shapes, str]] = {
    "one more block up": (one_more_up(), "U-Net has 12 tensors without a place.*output_blocks.9"),
    "no last block": (without(SDXL, f"{UNET}output_blocks.8."), "U-Net lacks 12 tensors"),
    "extra in U-Net": (SDXL | {f"{UNET}adapter.bias": (1,)}, "such as adapter.bias"),
    "absurd number": (
        SDXL | {f"{UNET}middle_block.1.transformer_blocks.{'9' * 400}.x": (1,)}, "middle has 11"
    ),
    "shape": (SDXL | {f"{UNET}out.2.bias": (7,)}, r"out.2.bias has shape \(7,\), not \(4,\)"),
    "text layer": (without(SDXL, f"{TEXT}encoder.layers.3.mlp.fc1"), "text encoder lacks 2 ten"),
    "text extra": (SDXL | {f"{TEXT}encoder.bottleneck": (4,)}, "text encoder has 1 tensor without"),
    "long prompts": (
        SDXL | {f"{TEXT}embeddings.position_embedding.weight": (248, 768)},
        r"has shape \(248, 768\), not \(77, 768\)",
    ),
    "no projection": (without(SDXL, PROJECTION), "text encoder lacks 1 tensor.*text_projection"),
    "other second encoder": (
        without(SDXL, "conditioner.embedders.1.")
        | {name.replace("cond_stage_model.", "conditioner.embedders.1."): shape
           for name, shape in published("sd2").items() if name.startswith("cond_stage_model.")},
        "text encoders' width is 1792, and its U-Net reads 2048",
    ),
    "vae": (without(SDXL, "first_stage_model.post_quant_conv."), "its VAE lacks"),
    "small vae": (
        without(SDXL, "first_stage_model.")
        | {"first_stage_model.taesd_decoder.1.weight": (64, 4, 3, 3),
           "first_stage_model.taesd_encoder.0.weight": (64, 3, 3, 3)},
        "TAESD.*vae setting",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", MISFITS)
def test_a_tensor_without_a_place_is_named_by_all_readers(kind: str, tmp_path: Path) -> None:
    shapes, message = MISFITS[kind]
    path = write_hole(tmp_path / "model.safetensors", shapes)
    with pytest.raises(ConfigError, match=f"is an SDXL checkpoint; it cannot be.*{message}"):
        require_base(path)
    text = describe(path)
    assert "cannot be trained: its " in text and "loads in" not in text


IGNORED = {
    f"{TEXT}embeddings.position_ids": (1, 77),
    "conditioner.embedders.1.model.logit_scale": (),
    "conditioner.embedders.0.transformer.text_projection.weight": (768, 768),
    "first_stage_model.loss.logvar": (),
    "first_stage_model.model_ema.decay": (),
    "model_ema.diffusion_modelinput_blocks00weight": (320, 4, 3, 3),
    "alphas_cumprod": (1000,),
    "embedding_manager.x": (1,),
    "optimizer.0.exp_avg": (5,),
    "denoiser.sigmas": (1000,),
}


@pytest.mark.parametrize("name", IGNORED)
def test_what_a_checkpoint_does_not_need_is_ignored(name: str, tmp_path: Path) -> None:
    dtype = "I64" if name.endswith("position_ids") else "F16"
    path = write_hole(
        tmp_path / "model.safetensors",
        SDXL | {name: IGNORED[name]},
        lambda other: dtype if other == name else "F16",
    )
    assert require_base(path).family == "sdxl"


def test_a_broken_vae_does_not_matter_where_another_is_given(tmp_path: Path) -> None:
    shapes = without(SDXL, "first_stage_model.post_quant_conv.")
    assert require_base(write_hole(tmp_path / "a.safetensors", shapes), vae_given=True)


@pytest.mark.parametrize("model", ["SSD-1B", "Segmind-Vega"])
def test_distilled_models_are_recognized_and_trained(model: str, tmp_path: Path) -> None:
    path = write_hole(tmp_path / "model.safetensors", published(model))
    assert require_base(path).family == "sdxl"
    first, *_, last = describe(path).splitlines()
    assert first == f"model.safetensors: {'an' if model == 'SSD-1B' else 'a'} {model} checkpoint"
    assert last == "loads in: ComfyUI, A1111, Forge, diffusers"


def test_a_model_with_ema_weights_alone_is_called_that(tmp_path: Path) -> None:
    shapes = without(published("sd1"), UNET) | {
        "model_ema.diffusion_modelinput_blocks00weight": (320, 4, 3, 3)
    }
    path = write_hole(tmp_path / "model.safetensors", shapes)
    assert identify(path).kind == "checkpoint"
    with pytest.raises(ConfigError, match="a checkpoint with only EMA weights.*Use a complete"):
        require_base(path)


def scaled(scale: str, shape: tuple[int, ...] = ()) -> Shapes:
    return SDXL | {f"{LINEAR}.{scale}": shape}


ROW = (1280, 1)
QUANTIZED: dict[str, tuple[Shapes, str, str | None]] = {
    "old scales": (
        scaled("scale_weight") | {f"{LINEAR}.scale_input": (), f"{UNET}scaled_fp8": (0,)},
        "F8_E4M3",
        None,
    ),
    "new scales": (scaled("weight_scale") | {f"{LINEAR}.input_scale": (1,)}, "F8_E4M3", None),
    "marked": (scaled("weight_scale") | {f"{LINEAR}.comfy_quant": (40,)}, "F8_E4M3", None),
    "rows": (scaled("weight_scale", ROW), "F8_E4M3", None),
    "without scales": (SDXL, "F8_E4M3", None),
    "blocks": (scaled("weight_scale", (1280, 40)), "F8_E4M3", "quantized in blocks"),
    "two scales": (
        scaled("weight_scale") | {f"{LINEAR}.weight_scale_2": ()}, "F8_E4M3", "weight_scale_2 says"
    ),
    "int8": (scaled("weight_scale"), "I8", r"its weights are quantized \(.*proj_in.weight is I8"),
    "int8 without scale": (SDXL, "I8", "proj_in.weight is stored as I8, so it is quantized"),
    "nf4": (SDXL | {f"{LINEAR}.weight.absmax": (5,)}, "U8", "quantized, as .*absmax says"),
    "scale of nothing": (SDXL | {f"{LINEAR}x.scale_weight": ()}, "F8_E4M3", "without a place"),
}  # fmt: skip


@pytest.mark.parametrize("kind", QUANTIZED)
def test_quantized_weights_are_read_or_refused(kind: str, tmp_path: Path) -> None:
    shapes, dtype, message = QUANTIZED[kind]
    kinds = {f"{LINEAR}.weight": dtype, f"{LINEAR}.comfy_quant": "U8"}
    scales = ("scale", "scale_weight", "scale_input", "_2")
    path = write_hole(
        tmp_path / "model.safetensors",
        shapes,
        lambda name: kinds.get(name, "F32" if name.endswith(scales) else "F16"),
    )
    if message is None:
        assert require_base(path).family == "sdxl"
        return
    with pytest.raises(ConfigError, match=message):
        require_base(path)


def test_megabytes_of_metadata_are_not_taken_for_damage(tmp_path: Path) -> None:
    path = write_model(
        tmp_path / "a.safetensors", kohya_lora(768), metadata={"note": "word " * 4_000_000}
    )
    assert path.stat().st_size > 20_000_000
    assert identify(path).kind == "lora"
