"""What computes attention: torch, or xformers where it works."""

from __future__ import annotations

import pytest
import torch
from diffusers.models.attention_processor import AttnProcessor2_0, XFormersAttnProcessor

from tests.worker.training.test_train import changed, newest_state, run_training
from trainer.config.model import ModelConfig
from trainer.runs.events import Finished, Warning
from trainer.worker.base import attention, models
from trainer.worker.base.attention import choose_attention, xformers_fault

CPU = torch.device("cpu")


def test_the_processors_really_change(tiny_checkpoint, monkeypatch):
    base = models.open_base(ModelConfig(str(tiny_checkpoint("sd1"))))
    unet = models.load_unet(base, torch.float32)

    def kinds() -> set[type]:
        return {type(processor) for processor in unet.attn_processors.values()}

    monkeypatch.setattr(attention, "xformers_fault", lambda device, dtype: "")
    assert choose_attention(unet, "xformers", CPU, torch.float32) is None
    assert kinds() == {XFormersAttnProcessor}
    for wanted in ("sdpa", "auto"):
        unet.set_attn_processor(XFormersAttnProcessor())
        assert choose_attention(unet, wanted, CPU, torch.float32) is None
        assert kinds() == {AttnProcessor2_0}


def test_what_xformers_lacks_is_found_by_trying(monkeypatch):
    assert "needs a GPU with CUDA" in xformers_fault(CPU, torch.float32)

    def broken(name: str) -> None:
        raise OSError("undefined symbol: _ZN3c10\nmore")

    monkeypatch.setattr(attention, "import_module", broken)
    monkeypatch.setattr(torch, "ones", lambda *args, **options: None)
    fault = xformers_fault(torch.device("cuda"), torch.bfloat16)
    assert fault == "undefined symbol: _ZN3c10"


@pytest.mark.parametrize("settings", [{}, {"class_prompt": "a dog", "num_class_images": 1}])
def test_without_xformers_training_goes_on_with_one_warning(make_config, tmp_path, settings):
    config = make_config(attention="xformers", max_train_steps=1, **settings)
    events = run_training(config, tmp_path / "r")
    (warning,) = [e for e in events if isinstance(e, Warning) and e.code == "attention"]
    assert "xformers cannot be used: it needs a GPU" in warning.message
    assert "\n" not in warning.message and "attention to auto" in warning.hint
    assert isinstance(events[-1], Finished)


def test_a_resume_may_change_it(make_config, tmp_path):
    config = make_config(attention="xformers")
    run_training(config, tmp_path / "r", stop_after=2)
    run_training(changed(config, attention="sdpa"), tmp_path / "r", resume=True)
    run_training(changed(config, attention="auto"), tmp_path / "straight")
    for name, value in newest_state(tmp_path / "straight").items():
        assert torch.equal(value, newest_state(tmp_path / "r")[name])
