"""The names of tensors by which models of other kinds are recognized."""

from __future__ import annotations

from typing import Literal

__all__ = ["CONTROLS", "PARTS", "TRANSFORMERS", "Kind"]

Kind = Literal[
    "checkpoint",
    "diffusers",
    "diffusion_model",
    "vae",
    "text_encoder",
    "lora",
    "controlnet",
    "embedding",
    "upscaler",
    "other",
]


def transformer_mark(mark: str) -> str:
    return rf"^(model\.diffusion_model\.|model\.model\.|model\.|net\.)?(?:{mark})"


TRANSFORMERS = {
    "a HunyuanVideo": transformer_mark(r"txt_in\.individual_token_refiner\."),
    "a Chroma": transformer_mark(r"distilled_guidance_layer\."),
    "a Flux": transformer_mark(r"double_blocks\.0\.|single_transformer_blocks\.0\."),
    "an SD3": transformer_mark(r"joint_blocks\.0\.|transformer_blocks\.0\.norm1_context\."),
    "an AuraFlow": transformer_mark(r"double_layers\.0\."),
    "a HiDream": transformer_mark(r"caption_projection\.0\.linear\."),
    "a PixArt": transformer_mark(r"t_block\.1\."),
    "an LTX-Video": transformer_mark(r"adaln_single\.emb\."),
    "a Lumina 2": transformer_mark(r"cap_embedder\.1\."),
    "a Wan": transformer_mark(r"head\.modulation$"),
    "a Stable Cascade": transformer_mark(r"clf\.1\."),
    "a Qwen-Image": transformer_mark(r"txt_norm\.weight$"),
    "a Hunyuan-DiT": transformer_mark(r"mlp_t5\.0\."),
    "a Mochi": transformer_mark(r"t5_yproj\."),
    "a Stable Audio": transformer_mark(r"transformer\.rotary_pos_emb\."),
}
CONTROLS: tuple[tuple[str, Kind, str], ...] = (
    ("a Control-LoRA", "controlnet", r"^lora_controlnet$"),
    (
        "a ControlNet",
        "controlnet",
        (
            r"^(control_model\.|controlnet_cond_embedding\.|controlnet_blocks\.0\."
            r"|controlnet_x_embedder\.|input_hint_block\.|zero_convs\.)"
        ),
    ),
    (
        "a T2I-Adapter",
        "controlnet",
        r"^(adapter\.)?body\.0\.(in_conv|block1|resnets)\b",
    ),
    ("an IP-Adapter", "other", r"^(ip_adapter|image_proj)\."),
    ("an AnimateDiff motion module", "other", r"(^|\.)motion_modules\."),
)
PARTS: tuple[tuple[str, Kind, str], ...] = (
    ("a video VAE", "vae", r"^(vae\.)?decoder\.(conv_in\.conv|middle\.0\.residual)\."),
    ("a CLIP text encoder", "text_encoder", r"(^|\.)token_embedding\.weight$"),
    ("a CLIP vision model", "text_encoder", r"^vision_model\.|^visual\."),
    ("a T5 text encoder", "text_encoder", r"^encoder\.block\.0\.layer\.0\."),
    ("a language model", "text_encoder", r"^model\.layers\.0\."),
    (
        "an upscaler",
        "upscaler",
        r"^(model\.0\.weight$|conv_first\.|RRDB_trunk\.|body\.0\.rdb1\.)",
    ),
)
