"""Run by ComfyUI's interpreter: what its own model makes of fixed inputs, for comparison.

    python comfy_forward.py COMFYUI_DIR CHECKPOINT PROMPT INPUTS.safetensors RESULT.safetensors

INPUTS has latents (1, 4, h, w) and pixels (1, H, W, 3); RESULT gets the encoded prompt, the
U-Net's output at step 500, the VAE's latents of the pixels and the picture of the latents.
"""

import sys

arguments, sys.argv = sys.argv[1:], ["comfy_forward", "--cpu", "--fp32-text-enc"]
sys.path.insert(0, arguments[0])

import comfy.options  # noqa: E402

comfy.options.enable_args_parsing()

import comfy.model_management  # noqa: E402
import comfy.sd  # noqa: E402
import torch  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402


def main():
    _, checkpoint, prompt, inputs, result = arguments
    given = load_file(inputs)
    with torch.no_grad():
        model, clip, vae, _ = comfy.sd.load_checkpoint_guess_config(checkpoint)
        embeds, pooled = clip.encode_from_tokens(clip.tokenize(prompt), return_pooled=True)
        comfy.model_management.load_models_gpu([model])
        side = given["pixels"].shape[1]
        sizes = {"width": side, "height": side, "target_width": side, "target_height": side}
        adm = model.model.encode_adm(pooled_output=pooled, device="cpu", **sizes)
        predicted = model.model.diffusion_model(
            given["latents"], torch.tensor([500.0]), context=embeds.float(), y=adm
        )
        found = {
            "embeds": embeds,
            "predicted": predicted,
            "encoded": vae.encode(given["pixels"]),
            "decoded": vae.decode(given["latents"]),
        }
        kind = "v" if "V_PREDICTION" in str(model.model.model_type) else "eps"
    save_file(
        {key: value.float().contiguous() for key, value in found.items()}, result, {"k": kind}
    )


main()
