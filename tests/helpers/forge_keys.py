"""Runs in Forge's Python: prints which keys of a LoRA file its own loader has no place for.

python forge_keys.py HOST_FOLDER sd1|sdxl LORA.safetensors; full-size models without memory
"""

import json
import os
import sys
import tempfile
from contextlib import redirect_stdout
from pathlib import Path

root, family, lora = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
os.chdir(root)
sys.path[:0] = [str(root), str(root / "repositories/huggingface_guess")]
sys.path.insert(2, str(root / "packages_3rdparty"))
sys.argv = ["keys", "--always-cpu", "--data-dir", tempfile.mkdtemp()]
with redirect_stdout(sys.stderr):
    import torch
    from backend.nn.clip import IntegratedCLIP
    from backend.nn.unet import IntegratedUNet2DConditionModel
    from backend.patcher import lora as loader
    from backend.utils import load_torch_file
    from huggingface_guess import model_list
    from torch import nn
    from transformers import CLIPTextConfig, CLIPTextModel

COMMON = {
    "use_checkpoint": False, "use_spatial_transformer": True, "in_channels": 4, "out_channels": 4,
    "model_channels": 320,
}  # fmt: skip
SD1 = {
    **COMMON, "num_res_blocks": [2] * 4, "channel_mult": [1, 2, 4, 4], "num_heads": 8,
    "transformer_depth": [1] * 6 + [0, 0], "transformer_depth_output": [1] * 9 + [0] * 3,
    "transformer_depth_middle": 1, "adm_in_channels": None, "context_dim": 768,
    "use_linear_in_transformer": False,
}  # fmt: skip
SDXL = {
    **COMMON, "num_res_blocks": [2] * 3, "channel_mult": [1, 2, 4], "num_head_channels": 64,
    "transformer_depth": [0, 0, 2, 2, 10, 10],
    "transformer_depth_output": [0, 0, 0, 2, 2, 2, 10, 10, 10], "transformer_depth_middle": 10,
    "context_dim": 2048, "use_linear_in_transformer": True, "num_classes": "sequential",
    "adm_in_channels": 2816,
}  # fmt: skip
KINDS = {
    "sd1": (model_list.SD15, SD1, "runwayml/stable-diffusion-v1-5", {"clip_l": "text_encoder"}),
    "sdxl": (
        model_list.SDXL, SDXL, "stabilityai/stable-diffusion-xl-base-1.0",
        {"clip_l": "text_encoder", "clip_g": "text_encoder_2"},
    ),
}  # fmt: skip
kind, config, repository, folders = KINDS[family]


def text_encoder(folder):
    settings = CLIPTextConfig.from_pretrained(root / "backend/huggingface" / repository / folder)
    return IntegratedCLIP(CLIPTextModel, settings, add_text_projection=True)


with torch.device("meta"):
    model = nn.Module()
    model.diffusion_model = IntegratedUNet2DConditionModel.from_config(config)
    clip = nn.ModuleDict({name: text_encoder(folder) for name, folder in folders.items()})
model.diffusion_model._internal_dict = config  # as the host's loader does
model.config = kind(config)
left = load_torch_file(lora, safe_load=True)
layers, absent = 0, []
for part, names in (
    (model, loader.model_lora_keys_unet(model, {})),
    (clip, loader.model_lora_keys_clip(clip, {})),
):
    patches, left = loader.load_lora(left, names)
    weights = {key if isinstance(key, str) else key[0] for key in patches}
    layers += len(patches)
    absent += sorted(weights - set(part.state_dict()))
print(json.dumps({"layers": layers, "unmatched": sorted(left) + absent}))
