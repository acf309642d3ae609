"""The adapter: LoRA layers on the base, and the one file layout that every host loads."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig as PeftConfig
from peft import inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file, save
from torch import Tensor, nn

from ...config.config import Config, LoraConfig
from ...files.atomic import write_atomic, write_unique
from ...model_files.families import Family
from ..base.models import BaseModel

UNET_PREFIX = "lora_unet"  # of layers' names in LoRA files
UNET_TARGETS = r".*(attn1|attn2)\.(to_q|to_k|to_v|to_out\.0)|.*\.ff\.net\.(0\.proj|2)"
TEXT_TARGETS = r".*\.(q_proj|k_proj|v_proj|out_proj|fc1|fc2)"
ADAPTER = "default"
DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}
BESIDE = (".json", ".png")  # a LoRA's card, and a picture of it


@dataclass(frozen=True)
class Adapter:
    """LoRA layers by their name in the LoRA file; a fresh adapter changes nothing.

    Args:
        layers: (file name without suffix, layer) of every adapted layer, in the model's order.
    """

    layers: Mapping[str, Any]
    config: LoraConfig

    def parameters(self, prefix: str = "") -> list[nn.Parameter]:
        """The trainable weights of the layers whose name starts with `prefix`."""
        return [p for name, p in self.named_parameters() if name.startswith(prefix)]

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        for name, layer in self.layers.items():
            yield f"{name}.lora_down.weight", layer.lora_A[ADAPTER].weight
            yield f"{name}.lora_up.weight", layer.lora_B[ADAPTER].weight

    def to(self, device: torch.device) -> None:
        """Move the trainable weights."""
        for _, parameter in self.named_parameters():
            parameter.data = parameter.data.to(device)

    @contextmanager
    def switched_off(self) -> Iterator[None]:
        """The frozen base, as it was before training."""
        for layer in self.layers.values():
            layer.enable_adapters(False)
        try:
            yield
        finally:
            for layer in self.layers.values():
                layer.enable_adapters(True)

    def weights(self, dtype: torch.dtype) -> dict[str, Tensor]:
        """Everything that the LoRA file holds, `.alpha` included."""
        weights = {
            name: parameter.detach().to("cpu", dtype).contiguous()
            for name, parameter in self.named_parameters()
        }
        alpha = torch.tensor(self.config.effective_alpha)
        return weights | {f"{name}.alpha": alpha.clone() for name in self.layers}

    @torch.no_grad()
    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Take up weights that `weights` gave."""
        for name, parameter in self.named_parameters():
            parameter.copy_(weights[name])


def add_adapter(
    family: Family,
    unet: nn.Module,
    text_encoders: Sequence[nn.Module],
    config: LoraConfig,
    seed: int,
) -> Adapter:
    """Wrap attention and feed-forward layers with LoRA (arXiv 2106.09685) in float32.

    Args:
        text_encoders: those to be trained; none where they stay frozen.
    """
    adapter = wrap_layers(family, unet, text_encoders, config)
    initialize(adapter, seed)
    return adapter


def wrap_layers(
    family: Family, unet: nn.Module, text_encoders: Sequence[nn.Module], config: LoraConfig
) -> Adapter:
    """Put LoRA layers into the models; their weights are peft's."""
    layers = inject(UNET_PREFIX, unet, UNET_TARGETS, config)
    for kind, encoder in zip(family.text_encoders, text_encoders, strict=False):
        skipped = unused_layer(family, encoder)
        layers |= inject(kind.lora_prefix, encoder, TEXT_TARGETS, config, skipped)
    return Adapter(layers, config)


def unused_layer(family: Family, encoder: nn.Module) -> str | None:
    """A pattern of the last layer where only the one before it is used (SDXL's first encoder)."""
    if not family.penultimate or hasattr(encoder, "text_projection"):
        return None
    last = sum(name.endswith(".mlp") for name, _ in encoder.named_modules()) - 1
    return rf".*layers\.{last}\..*"


def inject(
    prefix: str, model: nn.Module, targets: str, config: LoraConfig, skipped: str | None = None
) -> dict[str, Any]:
    peft_config = PeftConfig(
        r=config.rank,
        lora_alpha=config.effective_alpha,  # pyright: ignore[reportArgumentType] - peft divides
        target_modules=targets,
        exclude_modules=skipped,
    )
    inject_adapter_in_model(peft_config, model, ADAPTER)
    layers = {
        file_name(prefix, name): module
        for name, module in model.named_modules()
        if isinstance(module, LoraLayer)
    }
    for layer in layers.values():  # in half precision autocast casts, and peft need not
        layer.cast_input_dtype_enabled = layer.get_base_layer().weight.dtype == torch.float32
    return layers


def file_name(prefix: str, module_name: str) -> str:
    """The name of a layer in the LoRA file, kohya's way over diffusers' block names."""
    if prefix.startswith("lora_te"):  # some versions of transformers leave this level out
        module_name = "text_model." + module_name.removeprefix("text_model.")
    return f"{prefix}_{module_name.replace('.', '_')}"


@torch.no_grad()
def initialize(adapter: Adapter, seed: int) -> None:
    """Draw the down projections (Kaiming uniform, as nn.Linear); the up projections are zero."""
    rng = torch.Generator().manual_seed(seed)
    for name, parameter in adapter.named_parameters():
        parameter.data = parameter.data.float()
        if name.endswith("lora_up.weight"):
            parameter.zero_()
        else:
            fresh = torch.empty(parameter.shape)
            parameter.copy_(nn.init.kaiming_uniform_(fresh, a=math.sqrt(5), generator=rng))


def save_lora(wanted: Path, adapter: Adapter, config: Config, base: BaseModel, steps: int) -> Path:
    """Write the LoRA file and its card, then read the file back and check it; gives its path.

    Args:
        wanted: the path, if neither it nor a file beside it is there yet; else a number is added.

    Raises:
        RuntimeError: what was read back is not what was trained.
    """
    dtype = DTYPES[config.lora.save_precision]
    weights = adapter.weights(dtype)
    wanted.parent.mkdir(parents=True, exist_ok=True)

    def content(path: Path) -> bytes:
        return save(weights, file_metadata(path.stem, config, base, steps))

    path = write_unique(wanted.parent, wanted.stem, ".safetensors", content, BESIDE)
    check_lora(path, weights)
    write_atomic(path.with_suffix(".json"), json.dumps(card(config, base, steps), indent=2))
    return path


def check_lora(path: Path, expected: Mapping[str, Tensor]) -> None:
    """Raise RuntimeError when the file does not hold exactly the expected finite weights."""
    found = load_file(path)
    if found.keys() != expected.keys():
        raise RuntimeError(f"{path}: keys differ: {sorted(found.keys() ^ expected.keys())[:5]}")
    for key, value in found.items():
        if not torch.isfinite(value).all() or not torch.equal(value, expected[key]):
            raise RuntimeError(f"{path}: {key} is damaged")


def file_metadata(stem: str, config: Config, base: BaseModel, steps: int) -> dict[str, str]:
    """Metadata by which hosts show, filter and describe the file; all texts.

    Of paths it has the last part only: who shares a LoRA need not tell where the photos lie.
    """
    resolution = config.instance.resolution
    return {
        "ss_output_name": stem,
        "ss_base_model_version": base.family.version,
        "ss_sd_model_name": base.path.name,
        "ss_v2": str(base.family.is_v2),
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(config.lora.rank),
        "ss_network_alpha": str(config.lora.effective_alpha),
        "ss_learning_rate": str(config.training.learning_rate),
        "ss_steps": str(steps),
        "ss_seed": str(config.training.seed),
        "ss_resolution": f"({resolution}, {resolution})",
        "ss_tag_frequency": json.dumps({"instance": {config.instance.instance_prompt: 1}}),
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.architecture": f"{base.variant.architecture}/lora",
        "modelspec.implementation": "diffusers",
        "modelspec.title": stem,
        "modelspec.date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "modelspec.resolution": f"{resolution}x{resolution}",
        "modelspec.prediction_type": "v" if base.predicts_velocity else "epsilon",
        "modelspec.trigger_phrase": config.instance.instance_prompt,
        "modelspec.description": config.result.description,
        "dreambooth_config": config.with_paths(lambda path: Path(path).name).to_json(),
    }


def card(config: Config, base: BaseModel, steps: int) -> dict[str, str | float]:
    """What A1111 and Forge show on the LoRA's card."""
    return {
        "description": config.result.description,
        "sd version": base.family.card_version,
        "activation text": config.instance.instance_prompt,
        "preferred weight": 1.0,
        "notes": f"Trained on {base.path.name} for {steps} steps.",
    }
