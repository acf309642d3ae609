"""A1111's and Forge's own LoRA loaders have a place for every key of our files."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.helpers.comfy_host import users_env
from tests.helpers.webui_host import A1111, FORGE, OFFLINE, Kind
from tests.helpers.webui_models import save_full_extraction, save_full_lora

HERE = Path(__file__).parents[1] / "helpers"


def host_param(kind: Kind, name: str, *more: pytest.MarkDecorator) -> object:
    reason = kind.skip_reason()
    absent = pytest.mark.skipif(reason is not None, reason=str(reason))
    marks = [getattr(pytest.mark, name), absent, *more]
    return pytest.param(kind, id=name, marks=marks)


KINDS = [host_param(A1111, "a1111"), host_param(FORGE, "forge")]
LEFT_OUT = {  # by A1111's own table of names, whatever made the file
    ("a1111", "sdxl"): {
        "lora_unet_add_embedding_linear_1", "lora_unet_add_embedding_linear_2",
        "lora_unet_up_blocks_0_upsamplers_0_conv",
    },
}  # fmt: skip


def host_keys(kind: Kind, family: str, lora: Path) -> tuple[int, list[str]]:
    """How many layers a host's own loader finds in a file, and the keys it has no place for."""
    command = [kind.python, "-B", HERE / f"{kind.name}_keys.py", kind.folder, family, lora]
    answer = subprocess.run(
        [*map(str, command)], env=users_env() | OFFLINE, capture_output=True, text=True
    )
    assert answer.returncode == 0, answer.stderr[-2000:]
    found = json.loads(answer.stdout.splitlines()[-1])
    return found["layers"], found["unmatched"]


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_key_of_a_full_size_lora_has_a_place(tmp_path, kind, family):
    lora = tmp_path / "lora.safetensors"
    layers = save_full_lora(lora, family)
    assert host_keys(kind, family, lora) == (layers, [])


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_layer_of_an_extracted_lora_has_a_place(tmp_path, kind, family):
    lora = tmp_path / "lora.safetensors"
    layers = save_full_extraction(lora, family)
    found, unmatched = host_keys(kind, family, lora)
    left_out = LEFT_OUT.get((kind.name, family), set())
    assert {key.partition(".")[0] for key in unmatched} == left_out
    assert found == layers - len(left_out)
