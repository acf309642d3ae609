"""LoRA files of other trainers: each spelling gives the same layers, or is named as the reason."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tests.worker.trainable.test_lora import trained_lora
from trainer.config.model import ModelConfig
from trainer.errors import ConfigError
from trainer.worker.base.parts import Parts, open_parts
from trainer.worker.trainable.apply import LoraFile, attach, encode_with
from trainer.worker.trainable.layer_names import by_layer

# The tiny SDXL has three levels of one block.
ORIGINAL = {
    "down_blocks_1_attentions_0_": "input_blocks_3_1_",
    "down_blocks_2_attentions_0_": "input_blocks_5_1_",
    "mid_block_attentions_0_": "middle_block_1_",
    "up_blocks_0_attentions_0_": "output_blocks_0_1_",
    "up_blocks_0_attentions_1_": "output_blocks_1_1_",
    "up_blocks_1_attentions_0_": "output_blocks_2_1_",
    "up_blocks_1_attentions_1_": "output_blocks_3_1_",
}
WORDS = (
    *("down_blocks", "mid_block", "up_blocks", "transformer_blocks", "to_q", "to_k", "to_v"),
    *("to_out", "text_model", "self_attn", "q_proj", "k_proj", "v_proj", "out_proj"),
)


def dotted(name: str) -> str:
    """The name of a module, of a layer in kohya's spelling."""
    for word in WORDS:
        name = name.replace(word, word.replace("_", "\0"))
    return name.replace("_", ".").replace("\0", "_")


def as_original(key: str) -> str:
    for ours, theirs in ORIGINAL.items():
        key = key.replace(f"lora_unet_{ours}", f"lora_unet_{theirs}")
    return key


def as_peft(key: str, start: str = "", spelling: tuple[str, str] = ("lora_A", "lora_B")) -> str:
    layer, _, part = key.partition(".")
    part = part.replace("lora_down", spelling[0]).replace("lora_up", spelling[1])
    prefixes = {"lora_unet_": "unet.", "lora_te1_": "text_encoder.", "lora_te2_": "text_encoder_2."}
    for ours, theirs in prefixes.items():
        if layer.startswith(ours):
            return f"{theirs}{start}{dotted(layer.removeprefix(ours))}.{part}"
    raise AssertionError(key)


def as_processor(key: str) -> str:
    """Files of 2023: the attention's processor owned the layers."""
    key = as_peft(key, spelling=("lora.down", "lora.up"))
    found = re.fullmatch(r"(unet\..*\.attn[12])\.(to_[qkv]|to_out)(\.0)?\.lora\.(.*)", key)
    return f"{found[1]}.processor.{found[2]}_lora.{found[4]}" if found else key


LAYOUTS: dict[str, Callable[[str], str]] = {
    "original": as_original,
    "lycoris": lambda key: key.replace("lora_unet_", "lycoris_"),
    "diffusers": as_peft,
    "peft": lambda key: as_peft(key, "base_model.model."),
    "named adapter": lambda key: as_peft(key, spelling=("lora_A.default", "lora_B.default")),
    "linear": lambda key: as_peft(key, spelling=("lora_linear_layer.down", "lora_linear_layer.up")),
    "processor": as_processor,
}


def answers(base: Path, lora: Path) -> list[Tensor]:
    parts = open_parts(ModelConfig(str(base)), "no", lambda event: None)
    table = encode_with(parts, LoraFile(lora), ["a dog"])
    embeds = table[["a dog"]]
    rng = torch.Generator().manual_seed(0)
    latents = torch.randn((1, 4, 8, 8), generator=rng)
    conditions = {"text_embeds": embeds.pooled, "time_ids": torch.full((1, 6), 64)}
    with torch.no_grad():
        unet = parts.unet(latents, 500, embeds.embeds, added_cond_kwargs=conditions)
    return [embeds.embeds, unet.sample]


def test_every_layout_gives_the_same_layers(make_config, tmp_path):
    lora, base = trained_lora(make_config, tmp_path, "sdxl")
    weights = {key: v for key, v in load_file(lora).items() if not key.endswith(".alpha")}
    expected = answers(base, lora)
    for layout, rename in LAYOUTS.items():
        renamed = {rename(key): value for key, value in weights.items()}
        assert len(renamed) == len(weights) and renamed.keys() != weights.keys()
        path = tmp_path / f"{layout}.safetensors"
        save_file(renamed, path)
        for ours, theirs in zip(expected, answers(base, path), strict=True):
            assert torch.equal(ours, theirs), layout


def loaded(tiny_checkpoint) -> Parts:
    return open_parts(ModelConfig(str(tiny_checkpoint("sdxl"))), "no", lambda event: None)


CONVOLUTIONS = {
    "lora_unet_down_blocks_0_resnets_0_conv1": "down_blocks.0.resnets.0.conv1",
    "lora_unet_input_blocks_1_0_in_layers_2": "down_blocks.0.resnets.0.conv1",
    "lora_unet_input_blocks_2_0_op": "down_blocks.0.downsamplers.0.conv",
    "lora_unet_output_blocks_1_2_conv": "up_blocks.0.upsamplers.0.conv",
    "lora_unet_middle_block_0_emb_layers_1": "mid_block.resnets.0.time_emb_proj",
    "lora_unet_output_blocks_0_0_skip_connection": "up_blocks.0.resnets.0.conv_shortcut",
    "lora_unet_out_2": "conv_out",
}


@pytest.mark.parametrize("middle", [False, True], ids=["two factors", "three factors"])
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_layers_of_locon_add_their_product(tiny_checkpoint, name, middle):
    unet = loaded(tiny_checkpoint).unet
    module = unet.get_submodule(CONVOLUTIONS[name])
    shape = tuple(module.weight.shape)
    if len(shape) == 2 or shape[2:] == (1, 1):
        middle = False
    rng = torch.Generator().manual_seed(0)
    kernel = (1,) * len(shape[2:]) if middle else shape[2:]
    up = torch.randn((shape[0], 2, *[1] * len(kernel)), generator=rng)
    down = torch.randn((2, shape[1], *kernel), generator=rng)
    parts = {"lora_up.weight": up, "lora_down.weight": down, "alpha": torch.tensor(1.0)}
    product = torch.einsum("or,ri...->oi...", up.flatten(1), down)
    if middle:
        parts["lora_mid.weight"] = mid = torch.randn((2, 2, *shape[2:]), generator=rng)
        product = torch.einsum("om,mnkl,ni->oikl", up.flatten(1), mid, down.flatten(1))
    into = torch.randn((1, shape[1], *[6] * len(shape[2:])), generator=rng)
    plain = module(into)
    layers = by_layer({f"{name}.{part}": value for part, value in parts.items()})
    attach("lora_unet", unet, layers, 0.5)
    assert layers == {}
    wrapped = unet.get_submodule(CONVOLUTIONS[name])
    bare: nn.Module = wrapped.get_base_layer()
    bare.weight.data += 0.5 * 0.5 * product  # strength, and alpha over rank
    bare_answer = bare(into)
    bare.weight.data -= 0.5 * 0.5 * product
    torch.testing.assert_close(wrapped(into), bare_answer, atol=1e-3, rtol=1e-3)
    assert not torch.allclose(wrapped(into), plain, atol=1e-2)


TO_Q = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q"


def spoilt(kind: str, out: int, into: int) -> dict[str, Tensor]:
    good = {f"{TO_Q}.lora_up.weight": torch.ones(out, 2)}
    good |= {f"{TO_Q}.lora_down.weight": torch.ones(2, into)}
    more = {
        "DoRA": {f"{TO_Q}.dora_scale": torch.ones(out, 1)},
        "LoHa": {f"{TO_Q}.hada_w1_a": torch.ones(out, 2)},
        "LoKr": {f"{TO_Q}.lokr_w1": torch.ones(2, 2)},
        "difference": {f"{TO_Q}.diff_b": torch.ones(out)},
        "unknown layer": {"lora_unet_somewhere.lora_up.weight": torch.ones(2, 2)},
        "other width": {f"{TO_Q}.lora_up.weight": torch.ones(out + 1, 2)},
    }
    if kind in ("LoHa", "LoKr"):
        return more[kind]
    return good | more[kind]


REASONS = {
    "DoRA": "of a kind that sample does not apply: dora_scale .*Use ComfyUI, A1111 or Forge",
    "LoHa": "of a kind that sample does not apply: hada_w1_a",
    "LoKr": "of a kind that sample does not apply: lokr_w1",
    "difference": "of a kind that sample does not apply: diff_b",
    "unknown layer": "no place for, such as lora_unet_somewhere .up.*If this is it, the file is da",
    "other width": "no place for, such as .*to_q .* Use the base that it was trained on. If",
}


@pytest.mark.parametrize("kind", REASONS)
def test_what_is_not_applied_is_refused_for_its_own_reason(kind, tiny_checkpoint, tmp_path):
    parts = loaded(tiny_checkpoint)
    out, into = parts.unet.mid_block.attentions[0].transformer_blocks[0].attn1.to_q.weight.shape
    path = tmp_path / "dog.safetensors"
    save_file(spoilt(kind, out, into), path)
    with pytest.raises(ConfigError, match=REASONS[kind]):
        encode_with(parts, LoraFile(path), [""])


def test_a_lora_of_another_family_is_called_that(make_config, tiny_checkpoint, tmp_path):
    lora, _ = trained_lora(make_config, tmp_path, "sd1")
    with pytest.raises(ConfigError, match="is a LoRA for SD 1.x, and sdxl_0.safetensors is SDXL"):
        encode_with(loaded(tiny_checkpoint), LoraFile(lora), [""])
