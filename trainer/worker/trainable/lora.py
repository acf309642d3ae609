"""LoRA layers (arXiv 2106.09685) on attention and feed-forward layers, through peft."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from peft import LoraConfig as PeftConfig
from peft import inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

from ...config.trained import TrainedConfig
from ...errors import ConfigError
from ...model_files.families import Family
from ..base.quantised import compute_dtype
from .contract import Rate, Trained
from .layers import chosen, text_rates, unused_layers

__all__ = ["ADAPTER", "UNET_PREFIX", "Lora", "file_name", "inject", "wrap_layers"]

UNET_PREFIX = "lora_unet"  # of layers' names in LoRA files
UNET_TARGETS = r".*(attn1|attn2)\.(to_q|to_k|to_v|to_out\.0)|.*\.ff\.net\.(0\.proj|2)"
TEXT_TARGETS = r".*\.(q_proj|k_proj|v_proj|out_proj|fc1|fc2)"
ADAPTER = "default"


@dataclass(frozen=True)
class Lora:
    """The LoRA layers of one model; a `Trainable`.

    Args:
        layers: by name in the LoRA file without suffix, in the model's order.
    """

    rate: Rate
    layers: Mapping[str, Any]
    config: TrainedConfig

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Yield the down and up projection of every layer."""
        for name, layer in self.layers.items():
            yield f"{name}.lora_down.weight", layer.lora_A[ADAPTER].weight
            yield f"{name}.lora_up.weight", layer.lora_B[ADAPTER].weight

    @torch.no_grad()
    def initialize(self, rng: torch.Generator) -> None:
        """Draw the down projections (Kaiming uniform, as nn.Linear); up projections are zero."""
        for name, parameter in self.named_parameters():
            parameter.data = parameter.data.float()
            if name.endswith("lora_up.weight"):
                parameter.zero_()
            else:
                fresh = torch.empty(parameter.shape)
                parameter.copy_(nn.init.kaiming_uniform_(fresh, a=math.sqrt(5), generator=rng))

    @contextmanager
    def as_base(self) -> Iterator[None]:
        """Within it the layers compute what the base's do."""
        for layer in self.layers.values():
            layer.enable_adapters(False)
        try:
            yield
        finally:
            for layer in self.layers.values():
                layer.enable_adapters(True)

    def file_weights(self, dtype: torch.dtype) -> dict[str, Tensor]:
        """Return all that a LoRA file holds, `.alpha` included."""
        weights = {
            name: parameter.detach().to("cpu", dtype).contiguous()
            for name, parameter in self.named_parameters()
        }
        alpha = torch.tensor(self.config.effective_alpha)
        return weights | {f"{name}.alpha": alpha.clone() for name in self.layers}


def wrap_layers(
    family: Family, unet: nn.Module, text_encoders: Sequence[nn.Module], config: TrainedConfig
) -> Trained:
    """Put LoRA layers into the models; their weights are still peft's.

    Args:
        text_encoders: those to be trained; none where they stay frozen.
    """
    peft_config = {"r": config.rank, "lora_alpha": config.effective_alpha}
    targets: dict[str, Any] = {"target_modules": unet_targets(unet, config.layer_patterns)}
    layers = inject(UNET_PREFIX, unet, peft_config | targets)
    parts = [Lora("learning_rate", layers, config)]
    for rate, kind, encoder in text_rates(family, text_encoders):
        skipped = "|".join(map(re.escape, unused_layers(family, encoder)))
        excluded = rf".*({skipped})\..*" if skipped else None
        targets = {"target_modules": TEXT_TARGETS, "exclude_modules": excluded}
        parts.append(Lora(rate, inject(kind.lora_prefix, encoder, peft_config | targets), config))
    return Trained(parts)


def unet_targets(unet: nn.Module, patterns: Sequence[str]) -> str:
    """Return peft's pattern of the layers to wrap: all usual ones, or those that were chosen.

    Raises:
        ConfigError: none of the chosen layers is an attention or feed-forward layer.
    """
    if not patterns:
        return UNET_TARGETS
    layers = {name.rpartition(".")[0] for name in chosen(unet, patterns)}
    wrapped = sorted(name for name in layers if re.fullmatch(UNET_TARGETS, name))
    if not wrapped:
        raise ConfigError(
            f"train_layers: {', '.join(patterns):.200} has no layer that a LoRA can be put on.",
            "Choose attention or feed-forward layers, such as *attn2*.",
        )
    return "|".join(map(re.escape, wrapped))


def inject(prefix: str, model: nn.Module, options: Mapping[str, Any]) -> dict[str, Any]:
    """Put LoRA layers into a model; returns them by their name in LoRA files.

    Args:
        options: of peft's LoraConfig.
    """
    inject_adapter_in_model(PeftConfig(**options), model, ADAPTER)
    layers = {
        file_name(prefix, name): module
        for name, module in model.named_modules()
        if isinstance(module, LoraLayer)
    }
    for layer in layers.values():  # in half precision autocast casts, and peft need not
        layer.cast_input_dtype_enabled = compute_dtype(layer.get_base_layer()) == torch.float32
    return layers


def file_name(prefix: str, module_name: str) -> str:
    """Return the name of a layer in LoRA files: kohya's way over diffusers' block names."""
    if prefix.startswith("lora_te"):  # some versions of transformers leave this level out
        module_name = "text_model." + module_name.removeprefix("text_model.")
    return f"{prefix}_{module_name.replace('.', '_')}"
