"""Run by ComfyUI's interpreter: its own loader opens a checkpoint, we keep the weights.

    python comfy_load.py COMFYUI_DIR CHECKPOINT RESULT.safetensors

RESULT holds every weight of the diffusion model and the text encoders; its metadata list the log's
complaints of keys that are missing or left over.
"""

import json
import logging
import sys

arguments, sys.argv = sys.argv[1:], ["comfy_load", "--cpu"]
sys.path.insert(0, arguments[0])

import comfy.options  # noqa: E402

comfy.options.enable_args_parsing()

import comfy.sd  # noqa: E402
import torch  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

MARKS = ("missing", "unexpected", "left over", "unet keys", "not loaded", "mismatch")


class Complaints(logging.Handler):
    """Collects the messages by which ComfyUI says that keys are not as they should be."""

    def __init__(self):
        super().__init__()
        self.texts = []

    def emit(self, record):
        if any(mark in record.getMessage().lower() for mark in MARKS):
            self.texts.append(record.getMessage())


def main():
    _, checkpoint, result = arguments
    complaints = Complaints()
    logging.getLogger().addHandler(complaints)
    logging.getLogger().setLevel(logging.DEBUG)
    with torch.no_grad():
        model, clip, vae, _ = comfy.sd.load_checkpoint_guess_config(checkpoint)
        parts = [model.model.state_dict(), clip.cond_stage_model.state_dict()]
        parts.append({f"vae.{k}": v for k, v in vae.first_stage_model.state_dict().items()})
        weights = {k: v.cpu().clone().contiguous() for part in parts for k, v in part.items()}
        sampling = type(model.get_model_object("model_sampling")).__mro__
        kind = "v" if any(c.__name__ == "V_PREDICTION" for c in sampling) else "epsilon"
        save_file(weights, result, {"complaints": json.dumps(complaints.texts), "predicts": kind})


main()
