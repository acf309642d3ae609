"""Run by ComfyUI's interpreter: its own loader puts a LoRA on a checkpoint, we keep the weights.

    python comfy_merge.py COMFYUI_DIR CHECKPOINT LORA STRENGTH RESULT.safetensors

RESULT holds the merged float32 weight of every patched layer; its metadata lists the log's
complaints. "-" as RESULT prints the complaints and the number of patched layers alone.
"""

import json
import logging
import sys

arguments, sys.argv = sys.argv[1:], ["comfy_merge", "--cpu"]
sys.path.insert(0, arguments[0])

import comfy.options  # noqa: E402

comfy.options.enable_args_parsing()

import comfy.lora  # noqa: E402
import comfy.sd  # noqa: E402
import comfy.utils  # noqa: E402
import torch  # noqa: E402
from safetensors.torch import save_file  # noqa: E402


class Complaints(logging.Handler):
    """Collects the messages by which ComfyUI says that it left a key out."""

    def __init__(self):
        super().__init__()
        self.texts = []

    def emit(self, record):
        if "not loaded" in record.getMessage().lower():
            self.texts.append(record.getMessage())


def merged_weights(patcher):
    weights = {}
    for key, entries in patcher.get_key_patches().items():
        (weight, convert), *patches = entries
        if patches:
            plain = convert(weight.to(torch.float32, copy=True), inplace=True)
            weights[key] = comfy.lora.calculate_weight(patches, plain, key).contiguous()
    return weights


def main():
    _, checkpoint, lora, strength, result = arguments
    complaints = Complaints()
    logging.getLogger().addHandler(complaints)
    with torch.no_grad():
        model, clip, *_ = comfy.sd.load_checkpoint_guess_config(checkpoint)
        weights = comfy.utils.load_torch_file(lora, safe_load=True)
        patched = comfy.sd.load_lora_for_models(
            model, clip, weights, float(strength), float(strength)
        )
        if result == "-":
            counts = [len(patched[0].patches), len(patched[1].patcher.patches)]
            print(json.dumps({"complaints": complaints.texts, "patched": counts}))
            return
        merged = merged_weights(patched[0]) | merged_weights(patched[1].patcher)
        save_file(merged, result, {"complaints": json.dumps(complaints.texts)})


main()
