"""The original checkpoint layout is read and written without loss."""

import pytest
import torch

from benchmarks.random_checkpoint import UNETS, make_text_encoder, make_unet, make_vae
from trainer.model_files.unet_structure import Level, unet_structure, unet_tensors
from trainer.worker.base import text_layout, unet_layout, vae_layout


def numbered(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Weights of the model's names and shapes, each filled with a number of its own."""
    return {
        name: torch.full(parameter.shape, float(index))
        for index, (name, parameter) in enumerate(model.named_parameters())
    }


def assert_same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl"])
@pytest.mark.parametrize("size", ["tiny", "host"])
def test_unet_config_and_names_are_read_back_from_the_original_layout(family, size):
    unet = make_unet(family, size)
    sizes = UNETS[family, size]
    levels = [
        Level.even(channels, sizes.num_blocks, depth)
        for channels, depth in zip(sizes.channels, sizes.depths, strict=True)
    ]
    weights = numbered(unet)
    original = unet_layout.unet_from_diffusers(weights, levels)
    shapes = {name: tuple(value.shape) for name, value in original.items()}
    structure = unet_structure(shapes)
    assert list(structure.levels) == levels
    assert unet_tensors(structure) == shapes
    config = unet_layout.unet_config(structure, 8 if family == "sd1" else None)
    with torch.device("meta"):
        rebuilt = type(unet)(**config)
    assert {n: p.shape for n, p in rebuilt.named_parameters()} == {
        n: p.shape for n, p in unet.named_parameters()
    }
    assert_same(unet_layout.unet_to_diffusers(original, levels), weights)


def test_unet_names_are_those_of_published_checkpoints():
    sizes = UNETS["sd1", "full"]
    levels = [
        Level.even(channels, sizes.num_blocks, depth)
        for channels, depth in zip(sizes.channels, sizes.depths, strict=True)
    ]
    pairs = dict((b, a) for a, b in unet_layout.unet_pairs(levels))
    # known from the published SD 1.5 checkpoint
    assert pairs["down_blocks.1.attentions.0"] == "input_blocks.4.1"
    assert pairs["down_blocks.2.downsamplers.0.conv"] == "input_blocks.9.0.op"
    assert pairs["up_blocks.0.upsamplers.0.conv"] == "output_blocks.2.1.conv"
    assert pairs["up_blocks.1.attentions.2"] == "output_blocks.5.1"
    assert pairs["up_blocks.1.upsamplers.0.conv"] == "output_blocks.5.2.conv"
    assert pairs["up_blocks.3.attentions.2"] == "output_blocks.11.1"


def test_vae_is_read_back_from_the_original_layout():
    weights = numbered(make_vae("host"))
    original = vae_layout.vae_from_diffusers(weights, 4)
    assert original["encoder.mid.attn_1.q.weight"].shape[2:] == (1, 1)
    assert "decoder.up.0.block.0.nin_shortcut.weight" in original
    shapes = {name: tuple(value.shape) for name, value in original.items()}
    assert vae_layout.vae_config(shapes, 0.5)["block_out_channels"] == [128, 256, 512, 512]
    assert_same(vae_layout.vae_to_diffusers(original), weights)


def test_a_vae_with_the_names_of_2022_is_read_too():
    weights = numbered(make_vae("host"))
    today = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    old = {}
    for name, value in weights.items():
        for new, former in today.items():
            name = name.replace(f"attentions.0.{new}.", f"attentions.0.{former}.")
        old[name] = value
    assert old.keys() != weights.keys()
    assert_same(vae_layout.vae_from_diffusers(old, 4), vae_layout.vae_from_diffusers(weights, 4))


def test_open_clip_text_encoder_is_read_back_from_the_original_layout():
    sizes = {"hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 3}
    weights = numbered(make_text_encoder(sizes, projected=True, tiny=True))
    original = text_layout.clip_to_open_clip(weights)
    assert original["transformer.resblocks.2.attn.in_proj_weight"].shape == (192, 64)
    assert "positional_embedding" in original and "text_projection" in original
    assert_same(text_layout.open_clip_to_clip(original), weights)
