"""Runs in A1111's Python: prints which keys of a LoRA file its own loader has no place for.

python a1111_keys.py HOST_FOLDER sd1|sdxl LORA.safetensors; full-size models without memory
"""

import ast
import json
import logging
import os
import sys
import tempfile
from contextlib import redirect_stdout
from pathlib import Path
from types import SimpleNamespace

root, family, lora = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
os.chdir(root)
sys.path[:0] = [str(root), str(root / "extensions-builtin/Lora")]
sys.argv = ["keys", "--use-cpu", "all", "--no-half", "--data-dir", tempfile.mkdtemp()]
with redirect_stdout(sys.stderr):
    from modules import initialize

    initialize.imports()
    import network
    import networks
    import open_clip
    import torch
    from modules import sd_models
    from omegaconf import OmegaConf
    from torch import nn
    from transformers import CLIPTextConfig, CLIPTextModel

CONFIGS = {
    "sd1": "configs/v1-inference.yaml",
    "sdxl": "repositories/generative-models/configs/inference/sd_xl_base.yaml",
}


def holder(**children):
    made = nn.Module()
    for name, child in children.items():
        setattr(made, name, child)
    return made


def clip_l():
    sizes = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12}
    config = CLIPTextConfig(num_attention_heads=12, projection_dim=768, **sizes)
    return holder(transformer=CLIPTextModel(config))


def clip_g():
    model = open_clip.create_model("ViT-bigG-14", pretrained=None, device="meta")
    del model.visual
    return holder(model=model)


config = OmegaConf.load(root / CONFIGS[family]).model.params
with torch.device("meta"), redirect_stdout(sys.stderr):
    if family == "sdxl":
        from sgm.util import instantiate_from_config

        config.network_config.params.spatial_transformer_attn_type = "softmax"
        unet = instantiate_from_config(config.network_config)
    else:
        from ldm.util import instantiate_from_config

        unet = instantiate_from_config(config.unet_config)
    model = SimpleNamespace(is_sdxl=family == "sdxl", model=holder(diffusion_model=unet))
    if family == "sdxl":
        encoders = [holder(wrapped=clip_l()), holder(wrapped=clip_g())]
        model.conditioner = SimpleNamespace(embedders=encoders)
    else:
        model.cond_stage_model = clip_l()
sd_models.model_data.sd_model = model
sd_models.model_data.was_loaded_at_least_once = True
messages = []
handler = logging.Handler()
handler.emit = lambda record: messages.append(record.getMessage())
logging.getLogger().addHandler(handler)
logging.getLogger().setLevel(logging.DEBUG)
networks.assign_network_names_to_compvis_modules(model)
loaded = networks.load_network("lora", network.NetworkOnDisk("lora", lora))
MARK = "didn't match keys: "
missed = [ast.literal_eval(text.split(MARK, 1)[1]) for text in messages if MARK in text]
print(
    json.dumps(
        {
            "layers": len(loaded.modules),
            "unmatched": sorted({key for found in missed for key in found}),
        }
    )
)
