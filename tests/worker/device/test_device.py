"""What is chosen for GPUs that are not here: their answers are made up, the choices are not."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.torch_version import TorchVersion

from trainer.errors import ConfigError
from trainer.worker.device import device
from trainer.worker.device.memory import free_bytes

GIB = 1 << 30


def answer(monkeypatch: pytest.MonkeyPatch, **answers: Any) -> None:
    for name, value in answers.items():
        monkeypatch.setattr(torch.cuda, name, lambda *_, value=value, **__: value)


@pytest.mark.parametrize(
    ("capability", "finite", "expected", "searches"),
    [
        ((8, 6), [], "bf16", False),
        ((7, 5), [True], "fp16", False),
        ((7, 5), [False, True], "fp16", True),
        ((7, 5), [False, False], "no", True),
    ],
)
def test_auto_is_a_precision_that_the_gpu_computes_in(
    capability: tuple[int, int],
    finite: list[bool],
    expected: str,
    searches: bool,
    monkeypatch: pytest.MonkeyPatch,
):
    answer(monkeypatch, get_device_capability=capability)
    results = iter(finite)
    monkeypatch.setattr(device, "convolution_is_finite", lambda _: next(results))
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    assert device.choose_precision("auto", "cuda") == expected
    assert torch.backends.cudnn.benchmark is searches
    assert not list(results)


def fail_with(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def ones(*_: Any, **__: Any) -> torch.Tensor:
        raise error

    monkeypatch.setattr(torch, "ones", ones)
    answer(monkeypatch, get_device_name="GeForce GTX 1080")


def test_a_gpu_that_torch_has_no_code_for_is_named(monkeypatch: pytest.MonkeyPatch):
    fail_with(monkeypatch, RuntimeError("CUDA error: no kernel image is available\nCompile with"))
    with pytest.raises(ConfigError) as caught:
        device.check_gpu()
    assert caught.value.message.endswith(
        "the GeForce GTX 1080: CUDA error: no kernel image is available."
    )
    assert "driver" in caught.value.hint


def test_a_full_gpu_is_not_called_unusable(monkeypatch: pytest.MonkeyPatch):
    fail_with(monkeypatch, torch.OutOfMemoryError("CUDA out of memory."))
    with pytest.raises(torch.OutOfMemoryError):
        device.check_gpu()


def warned(kind: str, precision: str) -> list[str]:
    accelerator: Any = SimpleNamespace(device=torch.device(kind), mixed_precision=precision)
    return [warning.code for warning in device.device_warnings(accelerator)]


def test_a_gpu_that_is_left_idle_is_spoken_of(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(device, "has_nvidia_gpu", lambda: True)
    assert warned("cpu", "no") == ["gpu_not_used"]
    monkeypatch.setattr(device, "has_nvidia_gpu", lambda: False)
    assert warned("cpu", "no") == []


@pytest.mark.parametrize(("supported", "expected"), [(True, []), (False, ["bf16_emulated"])])
def test_bf16_that_is_emulated_is_spoken_of(
    supported: bool, expected: list[str], monkeypatch: pytest.MonkeyPatch
):
    answer(monkeypatch, is_bf16_supported=supported)
    assert warned("cuda", "bf16") == expected
    assert warned("cuda", "fp16") == []


def test_what_other_programs_hold_of_a_windows_gpu_and_half_a_gigabyte_stay_theirs(
    monkeypatch: pytest.MonkeyPatch,
):
    """The driver would otherwise spill into the system's memory, without an error."""
    shares: list[float] = []
    answer(monkeypatch, mem_get_info=(3 * GIB, 8 * GIB), memory_reserved=0, memory_allocated=0)
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", shares.append)
    monkeypatch.setattr(sys, "platform", "win32")
    device.keep_in_gpu_memory()
    assert shares == [2.5 / 8]
    assert free_bytes(torch.device("cuda")) == 2.5 * GIB


def test_each_process_of_a_launcher_first_chooses_its_gpu(monkeypatch: pytest.MonkeyPatch):
    calls: list[object] = []
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(torch.cuda, "set_device", calls.append)
    monkeypatch.setattr(device, "best_device", lambda: "cuda")

    def checked() -> None:
        calls.append("checked")
        raise ConfigError("", "")

    monkeypatch.setattr(device, "check_gpu", checked)
    with pytest.raises(ConfigError):
        device.make_accelerator("no")
    assert calls == [1, "checked"]


def test_a_convolution_is_tried_forward_and_backward(monkeypatch: pytest.MonkeyPatch):
    assert device.convolution_is_finite("cpu", torch.float32)

    class Broken(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, pixels: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
            return pixels + 0 * weight.sum()

        @staticmethod
        def backward(ctx: Any, grad: torch.Tensor) -> Any:
            return grad, torch.full((640, 640, 3, 3), float("inf"))

    class Layer(torch.nn.Conv2d):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            return Broken.apply(input, self.weight)

    monkeypatch.setattr(torch.nn, "Conv2d", Layer)
    assert not device.convolution_is_finite("cpu", torch.float32)


@pytest.mark.parametrize(
    ("version", "macos", "wanted", "message"),
    [
        ("2.7.1", True, "fp16", "needs torch 2.8"),
        ("2.10.0+git", True, "fp16", None),
        ("2.7.1", False, "bf16", "needs macOS 14"),
        ("2.7.1", True, "bf16", None),
        ("2.7.1", False, "no", None),
    ],
)
def test_what_an_apple_gpu_cannot_compute_in_is_refused(
    version: str, macos: bool, wanted: str, message: str | None, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(torch, "__version__", TorchVersion(version))
    monkeypatch.setattr(torch.backends.mps, "is_macos_or_newer", lambda *_: macos)
    if message is None:
        assert device.choose_precision(wanted, "mps") == wanted
        return
    with pytest.raises(ConfigError, match=message):
        device.choose_precision(wanted, "mps")


def test_what_torch_holds_in_reserve_counts_as_free(monkeypatch: pytest.MonkeyPatch):
    answer(
        monkeypatch,
        mem_get_info=(3 * GIB, 8 * GIB),
        memory_reserved=4 * GIB,
        memory_allocated=2 * GIB,
    )
    assert free_bytes(torch.device("cuda")) == 5 * GIB
