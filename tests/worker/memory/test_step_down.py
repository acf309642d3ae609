"""A step that does not fit is retried with less memory, and the result is the same."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.conftest import CLASS_PROMPT
from trainer.config.config import Config
from trainer.runs.control import Control
from trainer.runs.events import Event, Warning
from trainer.runs.run import Run
from trainer.worker.base import parts as base_parts
from trainer.worker.device.failures import is_out_of_memory
from trainer.worker.device.memory import OutOfMemory, shortage
from trainer.worker.training.checkpoint import checkpoints
from trainer.worker.training.job import Job
from trainer.worker.training.setup import set_up
from trainer.worker.training.training import Training

FULL = "CUDA out of memory. Tried to allocate 2.00 GiB."


def start(config: Config, folder: Path, events: list[Event] | None = None) -> Training:
    report: Callable[[Event], None] = (lambda _: None) if events is None else events.append
    return set_up(Job(config, Run(folder / "runs" / "r"), False, report, Control()))


def limit(training: Training, most: int, *, checkpointed: bool = True) -> list[int]:
    """Let the U-Net fail beyond so many images, and at all without gradient checkpointing.

    The failure comes amid the forward pass, when much is held already. Gives the sizes that passed.
    """
    passed: list[int] = []
    unet: Any = training.parts.unet

    def check(_module: Any, args: tuple[torch.Tensor, ...]) -> None:
        images = len(args[0])
        if images > most or checkpointed > unet.is_gradient_checkpointing:
            raise torch.OutOfMemoryError(FULL)
        passed.append(images)

    unet.mid_block.register_forward_pre_hook(check)
    return passed


def trained(training: Training, steps: int) -> dict[str, torch.Tensor]:
    for step in range(1, steps + 1):
        training.update(step)
    return training.model.trained.tensors()


def codes(events: list[Event]) -> list[str]:
    """Of all warnings but that of the tiny pictures."""
    found = [event.code for event in events if isinstance(event, Warning)]
    return [code for code in found if code != "low_resolution"]


def largest_difference(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> float:
    assert one.keys() == two.keys()
    return max((one[name] - two[name]).abs().max().item() for name in one)


@pytest.mark.parametrize("accumulated", [1, 2])
def test_checkpointing_that_comes_on_in_a_step_equals_a_run_that_began_with_it(
    make_config, tmp_path, accumulated
):
    settings = {"gradient_accumulation_steps": accumulated, "train_text_encoder": True}
    events: list[Event] = []
    config = make_config(gradient_checkpointing="off", **settings)
    smaller = start(config, tmp_path / "a", events)
    passed = limit(smaller, 1)
    found = trained(smaller, 3)
    expected = trained(start(make_config(gradient_checkpointing="on", **settings), tmp_path), 3)
    assert largest_difference(found, expected) == 0.0
    assert codes(events) == ["out_of_memory"]
    assert len(passed) == 3 * accumulated


def test_an_attempt_that_fails_in_the_second_window_counts_for_nothing(make_config, tmp_path):
    config = make_config(gradient_accumulation_steps=3, gradient_checkpointing="off")
    training = start(config, tmp_path / "a")
    calls = []

    def fail_once(_module: Any, _args: Any) -> None:
        calls.append(1)
        if len(calls) == 2:
            raise torch.OutOfMemoryError(FULL)

    training.parts.unet.mid_block.register_forward_pre_hook(fail_once)
    found = trained(training, 2)
    expected = trained(start(config, tmp_path), 2)
    assert largest_difference(found, expected) < 1e-6  # one of the two has checkpointing


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_a_step_in_parts_equals_the_whole_step(make_config, tmp_path, family):
    settings = {
        "train_batch_size": 3, "class_prompt": CLASS_PROMPT, "num_class_images": 2,
        "prior_loss_weight": 0.7, "train_text_encoder": True,
    }  # fmt: skip
    config = make_config(family, **settings)
    events: list[Event] = []
    smaller = start(config, tmp_path / "a", events)
    passed = limit(smaller, 2, checkpointed=False)
    losses = smaller.updater.gradients(1)
    whole = start(config, tmp_path)
    expected = whole.updater.gradients(1)
    assert codes(events) == ["out_of_memory"] * 2  # 3 images; 2 images
    assert passed == [2, 2, 2]
    torch.testing.assert_close(
        torch.cat([e.error for e in losses]), torch.cat([e.error for e in expected])
    )
    for one, other in zip(
        smaller.model.trained.parameters(), whole.model.trained.parameters(), strict=True
    ):
        torch.testing.assert_close(one.grad, other.grad, atol=1e-6, rtol=1e-4)


def test_a_later_step_down_repeats_its_step_and_no_other(make_config, tmp_path):
    config = make_config(train_batch_size=2, gradient_checkpointing="on")
    training = start(config, tmp_path / "a")
    training.update(1)
    limit(training, 1)
    training.update(2)
    found = training.model.trained.tensors()
    assert largest_difference(found, trained(start(config, tmp_path), 2)) < 1e-5
    steps = {int(state["step"]) for state in training.updater.optimizer.inner.state.values()}
    assert steps == {2}


def test_when_nothing_is_left_the_last_step_is_kept_and_the_hint_says_what_saves_how_much(
    make_config, tmp_path
):
    training = start(make_config(rank=16), tmp_path)
    training.update(1)
    before = training.model.trained.tensors()
    limit(training, 0)
    with pytest.raises(OutOfMemory) as raised:
        training.update(2)
    assert "Tried to allocate 2.00 GiB" in raised.value.message
    assert "Tried: gradient checkpointing, at most 1 image per pass." in raised.value.message
    assert "rank 4 saves 0.0" in raised.value.hint
    (kept,) = checkpoints(training.job.run.checkpoints)
    state = load_file(kept / "trained.safetensors")
    assert kept.name == "step_000001"
    assert all(torch.equal(state[name], before[name]) for name in state)
    assert all(parameter.grad is None for parameter in training.model.trained.parameters())


def test_a_failed_attempt_leaves_no_tensor_behind(make_config, tmp_path):
    training = start(make_config(), tmp_path)
    gc.collect()

    def living() -> int:
        return sum(isinstance(thing, torch.Tensor) for thing in gc.get_objects())

    before = living()
    held: list[int] = []

    def fail(_module: Any, _args: Any) -> None:
        held.append(living())
        raise torch.OutOfMemoryError(FULL)

    handle = training.parts.unet.mid_block.register_forward_pre_hook(fail)
    seen: list[Any] = []
    assert "2.00 GiB" in (shortage(lambda: training.updater.add_gradients(1, seen)) or "")
    handle.remove()
    assert held[0] > before
    assert living() <= before


def test_there_is_room_for_the_update_before_it_begins(make_config, tmp_path, monkeypatch):
    """An update that fails halfway cannot be retried."""
    training = start(make_config(), tmp_path)
    stepped, asked = [], []
    inner, empty = training.updater.optimizer.prepared.step, torch.empty

    def allocate(*args: Any, **kwargs: Any) -> torch.Tensor:
        if kwargs.get("dtype") is torch.uint8 and isinstance(args[0], int):
            asked.append(args[0])
            if len(asked) == 1:
                raise torch.OutOfMemoryError(FULL)
        return empty(*args, **kwargs)

    monkeypatch.setattr(torch, "empty", allocate)
    prepared = training.updater.optimizer.prepared
    monkeypatch.setattr(prepared, "step", lambda: (stepped.append(1), inner()))
    training.update(1)
    training.update(2)
    parameters = list(training.model.trained.parameters())
    moments = sum(8 * parameter.numel() + 4 for parameter in parameters)  # and a count of steps
    assert asked == [moments, moments, 0]  # the fused update needs no copies
    assert stepped == [1, 1]


def test_class_images_are_drawn_in_smaller_batches(make_config, tmp_path, monkeypatch):
    from trainer.worker.drawing import class_images

    sizes, draw_series = [], class_images.draw_series

    def limited(*arguments: Any, batch_size: int) -> Any:
        sizes.append(batch_size)
        if batch_size > 1:
            raise torch.OutOfMemoryError(FULL)
        return draw_series(*arguments, batch_size=batch_size)

    monkeypatch.setattr(class_images, "draw_series", limited)
    events: list[Event] = []
    settings = {"class_prompt": CLASS_PROMPT, "num_class_images": 4}
    start(make_config(class_batch_size=4, **settings), tmp_path / "a", events)
    assert sizes == [4, 2, 1, 1, 1, 1]
    assert codes(events) == ["out_of_memory"] * 2
    monkeypatch.undo()
    start(make_config(class_batch_size=1, **settings), tmp_path / "b")
    pictures = [sorted((tmp_path / name / "runs/cache").rglob("*.png")) for name in "ab"]
    assert [p.read_bytes() for p in pictures[0]] == [p.read_bytes() for p in pictures[1]]


def test_the_unet_makes_room_for_the_vae(make_config, tmp_path, monkeypatch):
    encode, failed = base_parts.encode_image, []

    def fail_once(vae: Any, pixels: Any) -> torch.Tensor:
        if parts and "U-Net" in parts[0].loaded and not failed:
            failed.append(1)
            raise MemoryError
        return encode(vae, pixels)

    parts: list[Any] = []
    release = base_parts.Parts.release
    monkeypatch.setattr(base_parts, "encode_image", fail_once)
    monkeypatch.setattr(
        base_parts.Parts, "release", lambda self, name: (parts.append(self), release(self, name))
    )
    events: list[Event] = []
    config = make_config(class_prompt=CLASS_PROMPT, num_class_images=1)
    start(config, tmp_path, events).update(1)
    assert failed and codes(events) == ["out_of_memory"]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: not enough"), True),
        (RuntimeError("MPS backend out of memory"), True),
        (RuntimeError("CUBLAS_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("Invalid buffer size: 20.00 GiB"), True),
        (RuntimeError("could not create a primitive"), True),
        (MemoryError(), True),
        (OSError(12, "Cannot allocate memory"), True),
        (OSError(22, "[WinError 1455] The paging file is too small"), True),
        (Exception("Auslagerungsdatei ist zu klein (os error 1455)"), True),  # safetensors
        (RuntimeError("Couldn't open shared file mapping, error code: <1455>"), True),
        (OSError(28, "No space left on device"), False),
        (OSError(2, "No such file", "dog_1455.png"), False),
        (RuntimeError("size mismatch"), False),
        (ValueError("not enough memory"), False),
    ],
)
def test_allocation_failures_are_told_from_other_errors(error, expected):
    assert is_out_of_memory(error) is expected


@pytest.mark.parametrize("free", [1 << 29, 1 << 31])
@pytest.mark.parametrize(
    "message",
    [
        "cuDNN error: CUDNN_STATUS_NOT_INITIALIZED",
        "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR",
        "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED",
        "CUDA error: CUBLAS_STATUS_INTERNAL_ERROR when calling cublasGemmEx",
        "GET was unable to find an engine to execute this computation",
    ],
)
def test_what_full_memory_and_faults_have_in_common_is_decided_by_what_is_free(
    monkeypatch, message, free
):
    error = RuntimeError(message)
    assert not is_out_of_memory(error)  # there is no GPU here
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (free, 1 << 33))
    assert is_out_of_memory(error) is (free < 1 << 30)


def test_other_errors_are_not_taken_for_a_full_memory(make_config, tmp_path):
    training = start(make_config(), tmp_path)

    def fail(_module: Any, _args: Any) -> None:
        raise RuntimeError("size mismatch")

    training.parts.unet.mid_block.register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError, match="size mismatch"):
        training.update(1)


def test_the_allocators_own_refusal_is_got_over(make_config, tmp_path):
    """More is asked for than a machine can address, so torch's own error comes."""
    events: list[Event] = []
    training = start(make_config(gradient_checkpointing="off"), tmp_path / "a", events)
    unet = training.parts.unet

    def ask_for_too_much(_module: Any, _args: Any) -> None:
        if not unet.is_gradient_checkpointing:
            torch.empty(2**48, dtype=torch.uint8)

    unet.mid_block.register_forward_pre_hook(ask_for_too_much)
    found = trained(training, 2)
    expected = trained(start(make_config(gradient_checkpointing="on"), tmp_path), 2)
    assert largest_difference(found, expected) == 0.0
    (warning,) = [e for e in events if isinstance(e, Warning) and e.code == "out_of_memory"]
    assert "llocat" in warning.message and "gradient_checkpointing to on" in warning.hint
