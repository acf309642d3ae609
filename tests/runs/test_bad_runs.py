"""Bad runs, class sets, LoRA files and halves of checkpoints: refused by name, or passed by."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import shutil
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from safetensors.torch import load_file, save_file
from torch import nn

from trainer.config.concept import PriorConfig
from trainer.config.model import ModelConfig
from trainer.files.atomic import check_writable
from trainer.model_files.header import read_header
from trainer.photos.class_set import ClassSet, check_fresh, set_settings
from trainer.runs.control import Control
from trainer.runs.events import Finished, Progress, from_line, read_events, to_line
from trainer.terminal.cli import make_parser, train_values
from trainer.worker.__main__ import GRACE_SEC, listen
from trainer.worker.base import models
from trainer.worker.base.parts import Parts, open_parts
from trainer.worker.drawing.class_images import given_class_images
from trainer.worker.trainable.apply import LoraFile, encode_with
from trainer.worker.trainable.lora import file_name
from trainer.worker.training import checkpoint

from ..conftest import CheckpointMaker
from ..helpers.bad_input import memory_limit, refused, time_limit
from ..helpers.fuzz_targets import GOOD_LINES, TARGETS
from ..helpers.model_files import SD1, SD2, SDXL, Shapes, write_model
from ..helpers.tiny_state import DESCRIBED, KEY, PARTS, tiny_state

POSIX = pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")

# Events

FINISHED = (
    b'{"event": "finished", "time": 2.0, "step": 3, "result_path": "a", "result_kind": "lora", '
    b'"seconds": 1.5}\n'
)
GARBAGE: dict[str, bytes | Callable[[], bytes]] = {
    "nothing": b"",
    "torn": b'{"event": "progress", "ti',
    "noise": bytes(range(256)) * 4,
    "zeros after a power cut": bytes(4096) + b"\n",
    "list": b"[]\n",
    "number": b"5\n",
    "no name": b'{"time": 1.0}\n',
    "name of a list": b'{"event": [], "time": 1.0}\n',
    "unknown": b'{"event": "exploded", "time": 1.0}\n',
    "missing field": b'{"event": "checkpoint", "time": 1.0, "step": 4}\n',
    "deep": b"[" * 200_000 + b"\n",
    "deep object": b'{"event":' * 100_000 + b"\n",
    "huge number": b'{"event": "checkpoint", "step": ' + b"9" * 5000 + b"}\n",
    "twice": b'{"event": "checkpoint", "time": 1.0, "step": 1, "step": 2, "path": ""}\n',
    "long line": lambda: b'{"event": "status", "message": "' + b"x" * 20_000_000 + b'"}\n',
    "long line without end": lambda: b" " * 20_000_000 + b"\n",
    "half a character": b'{"event": "\xed\xa0\x80"}\n',
    "line separator": b'{"event": "\xe2\x80\xa8"}\n',
}


@pytest.mark.parametrize("kind", GARBAGE)
def test_garbage_among_events_is_passed_by(kind: str, tmp_path: Path) -> None:
    content = GARBAGE[kind]
    garbage = content() if callable(content) else content
    path = tmp_path / "events.jsonl"
    path.write_bytes(GOOD_LINES[0] + garbage + b"\n" + FINISHED)
    with time_limit(), memory_limit(100):
        events = list(read_events(path))
    assert [type(event) for event in events] == [Progress, Finished]


@POSIX
@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.mkdir(), lambda path: None])
def test_events_that_are_no_file_are_none(make: Callable[[Path], object], tmp_path: Path) -> None:
    make(tmp_path / "events.jsonl")
    with time_limit():
        assert list(read_events(tmp_path / "events.jsonl")) == []


WRONG_FIELDS = {
    "step text": {"step": "3"},
    "step null": {"step": None},
    "step true": {"step": True},
    "step fraction": {"step": 3.5},
    "step huge": {"step": 10**400},
    "loss text": {"loss": "low"},
    "loss null": {"loss": None},
    "loss list": {"loss": [0.5]},
    "loss huge": {"loss": 10**400},
    "prior text": {"prior_loss": "none"},
    "time object": {"time": {}},
}


@pytest.mark.parametrize("kind", WRONG_FIELDS)
def test_a_field_of_the_wrong_type_makes_no_event(kind: str) -> None:
    document = json.loads(GOOD_LINES[0]) | WRONG_FIELDS[kind]
    with pytest.raises(ValueError, match="not a complete event"):
        from_line(json.dumps(document))


def test_an_event_with_any_text_is_one_line_that_can_be_written_and_read() -> None:
    event = Finished(1, "a\udcff\n\u2028\x1b狗/b.safetensors", "lora", 2.0, time=1.0)
    assert to_line(event).isprintable() is False  # the dog and the separator stay as they are
    assert to_line(event).encode().count(b"\n") == 0
    assert from_line(to_line(event)) == event


@settings(max_examples=150, deadline=None)
@given(content=TARGETS["events file"].inputs)
def test_any_events_file_ends_in_events(content: bytes) -> None:
    TARGETS["events file"].check(content)


# Class sets

SET_FILES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "is not valid JSON"),
    "list": (b"[]", "is not a JSON object"),
    "null": (b"null", "is not a JSON object"),
    "text": (b'"a photo of a dog"', "is not a JSON object"),
    "cut": (b'{"class_prompt": "a', "is not valid JSON"),
    "latin-1": (b'{"class_prompt": "\xe9"}', "is not valid JSON"),
    "deep": (b"[" * 200_000, "nested too deeply"),
    "twice": (b'{"seed": 1, "seed": 2}', "a name occurs twice"),
    "huge": (b'{"class_prompt": "' + b"x" * 1_000_000 + b'"}', "has more than 1,000,000 bytes"),
    "other prompt": (b'{"class_prompt": "a photo of a cat"}', "were generated with class_prompt"),
    "prompt is a list": (
        b'{"class_prompt": ["a photo of a dog"]}',
        "were generated with class_prompt",
    ),
    "prompt is null": (b'{"class_prompt": null}', "were generated with class_prompt None"),
    "long prompt": (b'{"class_prompt": "' + b"x" * 900_000 + b'"}', "class_prompt 'xxx"),
    "control": (b'{"class_prompt": "\\u001b[2J\\n\\ud800"}', "were generated with class_prompt"),
    "other base": (b'{"base": "../../x"}', "were generated with base"),
}


@pytest.mark.parametrize("kind", SET_FILES)
def test_broken_class_sets_are_refused(kind: str, tmp_path: Path) -> None:
    content, message = SET_FILES[kind]
    (tmp_path / "set.json").write_bytes(content)
    wanted = {"class_prompt": "a photo of a dog", "base": "abc"}
    error = refused(lambda: check_fresh(tmp_path, wanted), message)
    assert str(tmp_path) in error.message


@POSIX
@pytest.mark.parametrize(
    ("make", "message"),
    [(os.mkfifo, "set.json is a pipe"), (lambda path: path.mkdir(), "set.json is a folder")],
    ids=["pipe", "folder"],
)
def test_a_class_sets_file_that_is_none_is_refused(
    make: Callable[[Path], object], message: str, tmp_path: Path
) -> None:
    make(tmp_path / "set.json")
    refused(lambda: set_settings(tmp_path), message)


def test_a_class_set_uses_no_name_that_its_file_states(tmp_path: Path) -> None:
    (tmp_path / "set.json").write_text('{"images": ["../../secret.png"], "000000.png": "/etc"}')
    images = ClassSet(tmp_path, set_settings(tmp_path) or {})
    assert images.paths(2) == [tmp_path / "000000.png", tmp_path / "000001.png"]
    assert images.missing(2) == [0, 1]


CLASS_FOLDERS: dict[str, tuple[Callable[[Path], object], str]] = {
    "absent": (lambda path: path.rmdir(), "No such file|cannot find"),
    "empty": (lambda path: None, "contains no photos"),
    "only captions": (lambda path: (path / "a.txt").write_text("a dog"), "contains no photos"),
    "only folders": (lambda path: (path / "a.png").mkdir(), "contains no photos"),
}


@pytest.mark.parametrize("kind", CLASS_FOLDERS)
def test_class_folders_without_images_are_refused(kind: str, tmp_path: Path) -> None:
    make, message = CLASS_FOLDERS[kind]
    folder = tmp_path / "class"
    folder.mkdir()
    make(folder)
    prior = PriorConfig(class_prompt="a photo of a dog", class_images=str(folder))
    refused(lambda: given_class_images(prior, "abc"), message)


# Checkpoints of a run


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A run's only checkpoint, of step 2."""
    folder = tmp_path / "checkpoints"
    return checkpoint.save_checkpoint(folder, 2, tiny_state(updated=True), DESCRIBED)


def take_up(folder: Path) -> int:
    found, _ = checkpoint.newest_whole(folder.parent, PARTS)
    assert found is not None
    return checkpoint.resume(found, tiny_state(), DESCRIBED)


def test_the_checkpoint_that_is_spoilt_is_good(saved: Path) -> None:
    assert take_up(saved) == 2


def overwrite(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda path: (path / name).write_bytes(content)


def in_place_of(name: str, make: Callable[[Path], object]) -> Callable[[Path], object]:
    return lambda path: ((path / name).unlink(), make(path / name))


DAMAGES: dict[str, Callable[[Path], object]] = {
    "no sums": lambda path: (path / "sha256.json").unlink(),
    "no state": lambda path: (path / "state.json").unlink(),
    "no adapter": lambda path: (path / "trained.safetensors").unlink(),
    "no optimizer": lambda path: (path / "optimizer.safetensors").unlink(),
    "nothing": lambda path: [file.unlink() for file in path.iterdir()],
    "a file": lambda path: (shutil.rmtree(path), path.write_text("")),
    "empty sums": overwrite("sha256.json", b""),
    "sums are a list": overwrite("sha256.json", b"[]"),
    "sums are null": overwrite("sha256.json", b"null"),
    "deep sums": overwrite("sha256.json", b"[" * 200_000),
    "sums are no text": overwrite("sha256.json", b"\xff\xfe"),
    "empty state": overwrite("state.json", b""),
    "cut adapter": overwrite("trained.safetensors", b"\x10\0\0"),
    "empty optimizer": overwrite("optimizer.safetensors", b""),
    "state is a folder": in_place_of("state.json", Path.mkdir),
    "adapter is a folder": in_place_of("trained.safetensors", Path.mkdir),
    "sums are a folder": in_place_of("sha256.json", Path.mkdir),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_checkpoint_is_refused_where_there_is_no_other(kind: str, saved: Path) -> None:
    DAMAGES[kind](saved)
    refused(lambda: take_up(saved), "Every checkpoint in .* is damaged")


@POSIX
@pytest.mark.parametrize("name", ["sha256.json", "state.json", "trained.safetensors"])
def test_a_pipe_in_a_checkpoint_is_damage_and_never_waited_for(name: str, saved: Path) -> None:
    (saved / name).unlink()
    os.mkfifo(saved / name)
    refused(lambda: take_up(saved), "Every checkpoint in .* is damaged")


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_checkpoint_is_passed_by_for_the_one_before(kind: str, saved: Path) -> None:
    newer = saved.with_name("step_000004")
    shutil.copytree(saved, newer)
    DAMAGES[kind](newer)
    with time_limit():
        assert checkpoint.newest_whole(saved.parent, PARTS) == (saved, [newer])


@pytest.mark.parametrize(
    "name", ["step_x", "step_", "step_-00001", "step_2", "step_000002.partial", "step_000002 2"]
)
def test_what_has_another_name_is_no_checkpoint(name: str, saved: Path) -> None:
    shutil.copytree(saved, saved.with_name(name))
    assert checkpoint.checkpoints(saved.parent) == [saved]


def set_state(**changes: Any) -> Callable[[Path], object]:
    def spoil(path: Path) -> None:
        state = json.loads((path / "state.json").read_text("utf-8")) | changes
        kept = {name: value for name, value in state.items() if value is not ...}
        (path / "state.json").write_text(json.dumps(kept))

    return spoil


def set_weights(file: str, **changes: Any) -> Callable[[Path], object]:
    def spoil(path: Path) -> None:
        weights = load_file(path / file) | {
            name.replace("__", "."): v for name, v in changes.items()
        }
        save_file({name: v for name, v in weights.items() if v is not ...}, path / file)

    return spoil


def set_weight(file: str, name: str, value: Any) -> Callable[[Path], object]:
    return set_weights(file, **{name: value})


ADAPTER, OPTIMIZER = "trained.safetensors", "optimizer.safetensors"
FORGED: dict[str, Callable[[Path], object]] = {
    "state list": overwrite("state.json", b"[]"),
    "state null": overwrite("state.json", b"null"),
    "state text": overwrite("state.json", b'"step"'),
    "state empty": overwrite("state.json", b"{}"),
    "state cut": overwrite("state.json", b'{"step": 2'),
    "state deep": overwrite("state.json", b"[" * 200_000),
    "state latin-1": overwrite("state.json", b'{"a": "\xe9"}'),
    "state twice": overwrite("state.json", b'{"step": 2, "step": 3}'),
    "state huge number": overwrite("state.json", b'{"step": ' + b"9" * 5000 + b"}"),
    "no step": set_state(step=...),
    "step text": set_state(step="2"),
    "step null": set_state(step=None),
    "step true": set_state(step=True),
    "step fraction": set_state(step=2.0),
    "step negative": set_state(step=-2),
    "step 0": set_state(step=0),
    "step huge": set_state(step=10**30),
    "step of another": set_state(step=3),
    "step list": set_state(step=[2]),
    "no settings": set_state(settings=...),
    "settings list": set_state(settings=["rank"]),
    "settings null": set_state(settings=None),
    "settings text": set_state(settings="rank"),
    "settings other": set_state(settings={"rank": 4}),
    "settings unknown": set_state(settings={"rank": 2, "\x1b[2J\ud800": 1}),
    "settings many": set_state(settings={"x" * 5000 + str(i): i for i in range(100)}),
    "no files": set_state(files=...),
    "files number": set_state(files=5),
    "files other": set_state(files={"base": ["abc"]}),
    "places null": set_state(**{"places of photos": None}),
    "adapter empty": overwrite(ADAPTER, b""),
    "adapter noise": overwrite(ADAPTER, bytes(range(256))),
    "adapter pickle": overwrite(ADAPTER, b"\x80\x04}\x94." + bytes(60)),
    "adapter header": overwrite(ADAPTER, struct.pack("<Q", 2**63) + b"{}"),
    "adapter without key": set_weight(ADAPTER, KEY, ...),
    "adapter with more": set_weight(ADAPTER, "lora_unet_x.lora_down.weight", torch.zeros(2, 4)),
    "adapter rank": set_weight(ADAPTER, KEY, torch.zeros(3, 4)),
    "adapter one number": set_weight(ADAPTER, KEY, torch.zeros(1)),
    "adapter row": set_weight(ADAPTER, KEY, torch.zeros(4)),
    "adapter no numbers": set_weight(ADAPTER, KEY, torch.full((2, 4), float("nan"))),
    "adapter whole numbers": set_weight(ADAPTER, KEY, torch.zeros(2, 4, dtype=torch.int32)),
    "optimizer empty": overwrite(OPTIMIZER, b""),
    "optimizer noise": overwrite(OPTIMIZER, bytes(range(256))),
    "optimizer without key": set_weight(OPTIMIZER, f"{KEY}.exp_avg", ...),
    "optimizer without step": set_weight(OPTIMIZER, f"{KEY}.step", ...),
    "optimizer with more": set_weight(OPTIMIZER, "lora_unet_x.step", torch.tensor(1.0)),
    "optimizer shape": set_weight(OPTIMIZER, f"{KEY}.exp_avg", torch.zeros(3, 4)),
    "optimizer one number": set_weight(OPTIMIZER, f"{KEY}.exp_avg_sq", torch.tensor(0.0)),
    "optimizer steps": set_weight(OPTIMIZER, f"{KEY}.step", torch.zeros(2)),
    "optimizer no numbers": set_weight(
        OPTIMIZER, f"{KEY}.exp_avg_sq", torch.full((2, 4), float("inf"))
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", FORGED)
def test_a_checkpoint_with_wrong_contents_and_right_sums_is_refused(kind: str, saved: Path) -> None:
    FORGED[kind](saved)
    files = [file for file in saved.iterdir() if file.name != "sha256.json"]
    sums = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    (saved / "sha256.json").write_text(json.dumps(sums))
    error = refused(lambda: take_up(saved), "step_000002|Cannot resume|checkpoints")
    assert len(error.message) < 1000


# LoRA files


@pytest.fixture(scope="module")
def parts(tiny_checkpoint: CheckpointMaker) -> Parts:
    made = open_parts(ModelConfig(str(tiny_checkpoint("sd1"))), "no", lambda event: None)
    assert made.unet is not None and made.text_encoders
    return made


@pytest.fixture(scope="module")
def layer(parts: Parts) -> tuple[str, nn.Linear]:
    """One layer, and its name in LoRA files."""
    prefix, model = parts.base.family.text_encoders[0].lora_prefix, parts.text_encoders[0]
    name, module = next((n, m) for n, m in model.named_modules() if isinstance(m, nn.Linear))
    return file_name(prefix, name), module


Weights = Mapping[str, torch.Tensor]
LORAS: dict[str, Callable[[int, int], Weights]] = {
    "no pair": lambda o, i: {"lora_down.weight": torch.ones(2, i)},
    "no down": lambda o, i: {"lora_up.weight": torch.ones(o, 2), "alpha": torch.tensor(1.0)},
    "rank differs": lambda o, i: pair(torch.ones(o, 2), torch.ones(3, i)),
    "another width": lambda o, i: pair(torch.ones(o, 2), torch.ones(2, i + 1)),
    "rank 0": lambda o, i: pair(torch.ones(o, 0), torch.ones(0, i)),
    "row": lambda o, i: pair(torch.ones(o), torch.ones(i)),
    "number": lambda o, i: pair(torch.tensor(1.0), torch.tensor(1.0)),
    "four dimensions": lambda o, i: pair(torch.ones(o, 2, 1, 1), torch.ones(2, i, 3, 3)),
    "no numbers": lambda o, i: pair(torch.full((o, 2), float("nan")), torch.ones(2, i)),
    "infinite": lambda o, i: pair(torch.full((o, 2), float("inf")), torch.ones(2, i)),
    "alpha of two": lambda o, i: good(o, i) | {"alpha": torch.ones(2)},
    "alpha of none": lambda o, i: good(o, i) | {"alpha": torch.ones(0)},
    "alpha no number": lambda o, i: good(o, i) | {"alpha": torch.tensor(float("nan"))},
    "alpha infinite": lambda o, i: good(o, i) | {"alpha": torch.tensor(float("-inf"))},
    "loha": lambda o, i: {"hada_w1_a": torch.ones(o, 2), "hada_w1_b": torch.ones(2, i)},
    "dora": lambda o, i: good(o, i) | {"dora_scale": torch.ones(o, 1)},
    "mid": lambda o, i: good(o, i) | {"lora_mid.weight": torch.ones(2, 2, 3, 3)},
}


def pair(up: torch.Tensor, down: torch.Tensor) -> dict[str, torch.Tensor]:
    return {"lora_up.weight": up, "lora_down.weight": down}


def good(out: int, into: int) -> dict[str, torch.Tensor]:
    return pair(torch.ones(out, 2), torch.ones(2, into))


@pytest.mark.parametrize("kind", LORAS)
def test_bad_loras_are_refused(
    kind: str, parts: Parts, layer: tuple[str, nn.Linear], tmp_path: Path
) -> None:
    name, module = layer
    out, into = module.weight.shape
    path = tmp_path / "dog.safetensors"
    save_file({f"{name}.{key}": value for key, value in LORAS[kind](out, into).items()}, path)
    refused(lambda: encode_with(parts, LoraFile(path), [""], Control().check), "dog.safetensors")


@pytest.mark.parametrize("strength", [float("nan"), float("inf")])
def test_a_strength_that_is_no_number_is_refused(
    strength: float, parts: Parts, layer: tuple[str, nn.Linear], tmp_path: Path
) -> None:
    name, module = layer
    out, into = module.weight.shape
    path = tmp_path / "dog.safetensors"
    save_file({f"{name}.{key}": value for key, value in good(out, into).items()}, path)
    refused(lambda: encode_with(parts, LoraFile(path, strength), [""], Control().check), "strength")


# Halves of checkpoints: what names a model is there, and the rest is not


def load_part(path: Path, name: str) -> None:
    """Build the part that a weight belongs to from the file's header."""
    with torch.device("meta"):
        base = models.open_base(ModelConfig(str(path)))
        if name.startswith("model."):
            models.load_unet(base, torch.float32)
        elif name.startswith("first_stage_model."):
            models.load_vae(base)
        else:
            models.load_text_encoders(base, torch.float32)


@pytest.mark.parametrize("shapes", [SD1, SD2, SDXL], ids=["sd1", "sd2", "sdxl"])
def test_a_checkpoint_of_little_more_than_its_marks_is_refused(
    shapes: Shapes, tmp_path: Path
) -> None:
    path = write_model(tmp_path / "half.safetensors", shapes)
    refused(lambda: models.open_base(ModelConfig(str(path))), "half.safetensors.*U-Net lacks")


def write_header_alone(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """A float16 checkpoint whose contents are a hole in the file: it takes no space."""
    document: dict[str, Any] = {}
    end = 0
    for name, shape in shapes.items():
        size = 2
        for side in shape:
            size *= side
        document[name] = {"dtype": "F16", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(document).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + end)


SLOW = pytest.mark.slow


@POSIX
@pytest.mark.parametrize(
    ("family", "number"),
    [("sd1", 4), *(pytest.param(family, 30, marks=SLOW) for family in ("sd1", "sd2", "sdxl"))],
)
def test_a_checkpoint_without_or_with_a_changed_weight_is_refused(
    family: str, number: int, tiny_checkpoint: CheckpointMaker, tmp_path: Path
) -> None:
    """Some weights of every part are left out, or have another shape."""
    tensors = read_header(tiny_checkpoint(family)).tensors
    whole = {name: tensor.shape for name, tensor in tensors.items()}
    path = tmp_path / "half.safetensors"
    chosen = random.Random(5).sample(sorted(whole), number)
    for index, name in enumerate(chosen):
        changed: dict[str, tuple[int, ...]] = dict(whole)
        if index % 2:
            del changed[name]
        else:
            changed[name] = [(3,), (), (5, 7), (2, 2, 2), (0,)][index // 2 % 5]
        write_header_alone(path, changed)
        refused(lambda name=name: load_part(path, name), "half.safetensors")


@pytest.mark.parametrize("spoilt", ["weight", "shape", "config"])
def test_a_part_of_a_diffusers_folder_that_lacks_something_is_refused(
    spoilt: str, parts: Parts, tmp_path: Path
) -> None:
    parts.vae.save_pretrained(tmp_path / "vae")
    parts.text_encoders[0].save_pretrained(tmp_path / "text_encoder")
    (tmp_path / "model_index.json").write_text("{}")
    parts.unet.save_pretrained(tmp_path / "unet")
    assert models.open_base(ModelConfig(str(tmp_path)))
    file = tmp_path / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    if spoilt == "weight":
        del weights["conv_in.weight"]
    elif spoilt == "shape":
        weights["conv_in.weight"] = torch.zeros(3)
    else:
        config = tmp_path / "unet" / "config.json"
        config.write_text(json.dumps(json.loads(config.read_text()) | {"layers_per_block": "x"}))
    save_file(weights, file, {"format": "pt"})
    refused(lambda: models.open_base(ModelConfig(str(tmp_path))), "unet")


# What the terminal and the host send


@pytest.mark.parametrize("content", [b"[" * 200_000, b" " * 10_000_001, b'{"rank": 1, "rank": 2}'])
def test_a_bad_config_file_is_named_by_the_terminal(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content)
    options = make_parser().parse_args(["train", "--config", str(path)])
    assert str(path) in refused(lambda: train_values(options), "config.json").message


@pytest.mark.parametrize("flag", ["--strength", "--guidance-scale"])
@pytest.mark.parametrize("value", ["nan", "inf", "-1e999", "strong"])
def test_flags_that_are_no_numbers_are_refused(flag: str, value: str) -> None:
    arguments = ["sample", "--base", "b", "--prompt", "a", f"{flag}={value}"]
    refused(lambda: make_parser().parse_args(arguments), f"^{flag}: ")


@pytest.mark.parametrize("folder", ["x" * 300, "x/" * 3000, "a.png/loras"])
def test_a_folder_that_cannot_be_is_refused(folder: str, tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    refused(lambda: check_writable(tmp_path / folder, "output"), "output: the folder .* cannot be")


def forbid(*_arguments: object, **_options: object) -> None:
    raise PermissionError(13, "Permission denied")


@pytest.mark.parametrize("name", ["runs", "runs/dog"])
def test_a_folder_that_takes_no_file_is_refused_at_once(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "runs").mkdir()
    check_writable(tmp_path / name, "output")
    assert not list((tmp_path / "runs").iterdir())
    monkeypatch.setattr(Path, "open", forbid)  # root may write anywhere
    monkeypatch.setattr(Path, "mkdir", forbid)
    refused(lambda: check_writable(tmp_path / name, "output"), "cannot be written to: Permission")


def test_lines_that_are_no_commands_do_not_keep_a_stop_from_being_heard(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ends: list[int] = []  # of the process, which would be this one
    timer = "faulthandler.dump_traceback_later"
    monkeypatch.setattr(timer, lambda seconds, **_: ends.append(seconds))
    lines = ["", "{", "[]", "5", "null", "{}", '{"command": "fly"}', '{"command": []}', "[" * 10**5]
    control = Control()
    listen(io.StringIO("\n".join([*lines, '{"command": "save"}'])), control)
    assert control.save.is_set() and control.stop.is_set()
    assert ends == [GRACE_SEC]
