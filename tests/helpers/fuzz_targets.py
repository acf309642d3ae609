"""What is fuzzed, and what must hold of any input: an answer or a ConfigError, nothing else.

The suite runs each target shortly; `python -m benchmarks.faults.fuzz` runs them for minutes.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import struct
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from PIL import Image
from safetensors import safe_open

from trainer.config.config import Config, all_settings, read_config_file
from trainer.errors import ConfigError
from trainer.model_files.header import read_header
from trainer.model_files.identify import describe
from trainer.photos.captions import read_caption
from trainer.photos.images import read_photo
from trainer.prompts.tokenizer import END, MAX_TOKENS, START, encode, prompt_ids, token_count
from trainer.runs.events import EVENTS, from_line, read_events, to_line
from trainer.terminal.cli import make_parser, train_values

from .bad_input import check_error
from .model_files import SD1, SDXL, document_of, file_bytes, kohya_lora

Strategy = st.SearchStrategy[Any]


@dataclass(frozen=True)
class Target:
    """One reader, and the inputs that it gets; `check` raises where something else happens."""

    inputs: Strategy
    check: Callable[[Any], None]


@cache
def folder() -> Path:
    """A folder for this process's inputs, in memory where the system has such a place."""
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    made = tempfile.TemporaryDirectory(dir=place)
    folder.made = made  # type: ignore[attr-defined]  # is removed when the process ends
    return Path(made.name)


def written(name: str, content: bytes) -> Path:
    path = folder() / name
    path.write_bytes(content)
    return path


@contextlib.contextmanager
def only_config_errors() -> Any:
    try:
        yield
    except ConfigError as error:
        check_error(error)


def mutated(samples: list[bytes], tokens: list[bytes]) -> Strategy:
    """One of the samples with a few bytes replaced, put in or cut out."""
    edit = st.tuples(
        st.floats(0, 1),
        st.integers(0, 12),
        st.one_of(st.binary(max_size=4), st.sampled_from(tokens)),
    )

    def apply(sample: bytes, edits: list[tuple[float, int, bytes]]) -> bytes:
        for place, cut, new in edits:
            start = int(place * len(sample))
            sample = sample[:start] + new + sample[start + cut :]
        return sample

    return st.builds(apply, st.sampled_from(samples), st.lists(edit, min_size=1, max_size=5))


JSON_TOKENS = [b"{", b"}", b"[", b"]", b'"', b",", b":", b"null", b"-1", b"1e999", b"NaN", b"0.5"]
JSON_TOKENS += [
    b"9" * 20,
    b"9" * 5000,
    b"[" * 2000,
    b"\\u0000",
    b"\\ud800",
    b"\xff",
    b"-0",
    b"true",
]

ODD_NUMBERS = st.one_of(
    st.integers(-2, 9),
    st.sampled_from([2**31, 2**53, 2**63 - 1, 2**63, 2**64, 10**400, -(2**63)]),
    st.floats(),
)
TEXTS = st.one_of(
    st.text(max_size=8),
    st.sampled_from(["", "none", "NaN", "1e999", "a\0b", "\ud800", "../..", "x" * 9000, "CON"]),
)
SCALARS = st.one_of(st.none(), st.booleans(), ODD_NUMBERS, TEXTS)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)

# The safetensors header

HEADERS = [file_bytes(*document_of(shapes, {})) for shapes in (SD1, SDXL, kohya_lora(768))]
COUNTS = st.lists(st.one_of(st.integers(0, 5), ODD_NUMBERS), max_size=4)
ENTRIES = st.fixed_dictionaries(
    {},
    optional={
        "dtype": st.one_of(st.sampled_from(["F32", "F16", "U8", "F4", "C64", "F8_E4M3"]), VALUES),
        "shape": st.one_of(COUNTS, VALUES),
        "data_offsets": st.one_of(st.lists(st.integers(0, 40), min_size=2, max_size=2), VALUES),
        "more": VALUES,
    },
)
NAMES = st.one_of(st.sampled_from([*SD1, *kohya_lora(768), "__metadata__", "v_pred"]), TEXTS)


def consistent(shapes: dict[str, list[int]], dtype: str) -> bytes:
    """A file that keeps the rules, of whatever names and shapes."""
    document: dict[str, Any] = {}
    size = {"F32": 32, "F16": 16, "U8": 8, "F4": 4}[dtype]
    end = 0
    for name, shape in shapes.items():
        bits = size
        for side in shape:
            bits *= side
        document[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + bits // 8]}
        end += bits // 8
    return file_bytes(document, bytes(end))


def with_length(text: bytes, length: int, data: bytes) -> bytes:
    return struct.pack("<Q", length) + text + data


HEADER_FILES = st.one_of(
    st.binary(max_size=100),
    mutated(HEADERS, JSON_TOKENS),
    mutated([content[8:] for content in HEADERS], JSON_TOKENS).map(
        lambda text: with_length(text, max(text.find(b"}}") + 2, 0), b"")
    ),
    st.builds(
        with_length, st.binary(max_size=20), st.integers(0, 2**64 - 1), st.binary(max_size=9)
    ),
    st.builds(
        lambda document, data: file_bytes(json.dumps(document).encode(), data),
        st.dictionaries(NAMES, st.one_of(ENTRIES, VALUES), max_size=4),
        st.binary(max_size=40),
    ),
    st.builds(
        consistent,
        st.dictionaries(NAMES, st.lists(st.integers(0, 6), max_size=4), max_size=5),
        st.sampled_from(["F32", "F16", "U8", "F4"]),
    ),
)


def check_header(content: bytes) -> None:
    """What we accept, the safetensors library opens too, with the same tensors."""
    path = written("model.safetensors", content)
    with only_config_errors():
        header = read_header(path)
        assert describe(path)
        with safe_open(str(path), framework="np") as file:
            assert set(file.keys()) == set(header.tensors)


# Configs and flags

GOOD_CONFIG = Config.from_values(
    {
        "base": "base.safetensors",
        "instance_images": ("photos",),
        "instance_prompt": "a photo of sks dog",
        "output": "loras/dog.safetensors",
    }
)
SETTING_NAMES = [spec.name for _, spec in all_settings()]
SOME_SETTINGS = st.dictionaries(
    st.one_of(st.sampled_from(SETTING_NAMES), st.sampled_from(["trained", "model", "x"]), TEXTS),
    VALUES,
    max_size=4,
)
CONFIG_FILES = st.one_of(
    st.binary(max_size=60),
    mutated([GOOD_CONFIG.to_json().encode(), json.dumps(GOOD_CONFIG.flat()).encode()], JSON_TOKENS),
    SOME_SETTINGS.map(lambda values: json.dumps(GOOD_CONFIG.flat() | values).encode()),
    SOME_SETTINGS.map(
        lambda values: json.dumps(GOOD_CONFIG.to_dict() | {"trained": values}).encode()
    ),
    VALUES.map(lambda value: json.dumps(value).encode()),
)


def check_config(content: bytes) -> None:
    """From a file and from a text alike; an accepted config survives being written and read."""
    path = written("config.json", content)
    with only_config_errors():
        config = Config.from_values(read_config_file(path))
        assert Config.from_json(config.to_json()) == config
        config.to_json().encode()
    with only_config_errors(), contextlib.suppress(UnicodeDecodeError):
        Config.from_json(content.decode())


FLAGS = [spec.flag for _, spec in all_settings()]
ARGUMENTS = st.lists(
    st.one_of(
        st.sampled_from([*FLAGS, "--set", "--preset", "--config", "--resume", "--run", "--events"]),
        st.sampled_from(
            [f"{name}=1" for name in SETTING_NAMES] + ["=", "a=b", "rank=", "--", "-1"]
        ),
        TEXTS,
        ODD_NUMBERS.map(str),
        st.builds(lambda name, value: f"{name}={value}", st.sampled_from(SETTING_NAMES), SCALARS),
    ).filter(lambda text: "\0" not in text),
    max_size=6,
)
REQUIRED = [
    "train",
    "--base",
    "b.safetensors",
    "--instance-images",
    "p",
    "--instance-prompt",
    "sks",
]
REQUIRED += ["--output", "o.safetensors"]


def check_flags(arguments: list[str]) -> None:
    """Flags end in a config or a ConfigError, or show the help."""
    with only_config_errors(), contextlib.redirect_stdout(io.StringIO()):
        try:
            options = make_parser().parse_args([*REQUIRED, *arguments])
        except SystemExit as exit:
            assert exit.code == 0
            return
        Config.from_values(train_values(options))


# Events

GOOD_LINES = [
    b'{"event": "progress", "time": 1.5, "step": 3, "max_train_steps": 9, "loss": 0.5, '
    b'"instance_loss": 0.5, "prior_loss": null, "learning_rate": 0.1, "steps_per_sec": 1.0, '
    b'"eta_sec": 6.0, "peak_memory_gib": 0.0}\n',
    b'{"event": "sample", "time": 2, "step": 3, "path": "a.png", "prompt": "b", "seed": 4}\n',
    b'{"event": "failed", "time": 2.0, "code": "c", "message": "m", "hint": "h", "log_path": ""}\n',
]
EVENT_LINES = st.one_of(
    st.binary(max_size=60),
    mutated([b"".join(GOOD_LINES), *GOOD_LINES], [*JSON_TOKENS, b"\n", "\u2028".encode(), b"\r"]),
    st.builds(
        lambda name, values: json.dumps({"event": name, **values}).encode(),
        st.sampled_from(sorted(EVENTS)),
        st.dictionaries(st.sampled_from(["time", "step", "path", "stage", "loss"]), VALUES),
    ),
)


def check_events(content: bytes) -> None:
    """Lines that are no events are passed by; the others survive being written and read."""
    path = written("events.jsonl", content)
    for event in read_events(path):
        line = to_line(event)
        line.encode()
        assert to_line(from_line(line)) == line


# Photos, captions and prompts


def encoded(kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image = Image.linear_gradient("L").resize((24, 16)).convert("RGB")
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def upside_down() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 3
    return exif


PHOTOS = [
    encoded("JPEG"), encoded("PNG"), encoded("WEBP"), encoded("GIF"), encoded("BMP"),
    encoded("TIFF"), encoded("TIFF", compression="tiff_lzw"), encoded("JPEG", exif=upside_down()),
    encoded("JPEG", progressive=True), encoded("WEBP", lossless=True, exif=upside_down()),
]  # fmt: skip


def check_photo(content: bytes) -> None:
    path = written("photo.png", content)
    with only_config_errors():
        assert read_photo(path).mode == "RGB"


CAPTION_TOKENS = [b"\0", b"\xff", b"\xef\xbb\xbf", b"\r\n", b"<|endoftext|>", b"a" * 9000]


def check_caption(content: bytes) -> None:
    written("photo.txt", content)
    with only_config_errors():
        caption = read_caption(folder() / "photo.png", "auto", "sks dog").text
        assert caption and "\0" not in caption
        check_prompt(caption)


PROMPTS = st.one_of(
    st.text(max_size=200),
    st.text(st.characters(), max_size=60),
    st.text("aå'狗🐕 <|>endofxtsar\u0301\ud800", max_size=80),
    st.text("ab", max_size=40).map(lambda word: word * 100),
)


def check_prompt(text: str) -> None:
    """77 ids of the vocabulary; only half a character is refused."""
    halves = any("\ud800" <= letter <= "\udfff" for letter in text)
    try:
        ids = encode(text)
    except ConfigError as error:
        check_error(error)
        assert halves
        return
    assert not halves
    assert all(0 <= token <= END for token in ids)
    padded = prompt_ids(text)
    assert len(padded) == MAX_TOKENS and padded[0] == START and END in padded
    assert token_count(text) == len(ids) + 2


TARGETS = {
    "safetensors header": Target(HEADER_FILES, check_header),
    "config file": Target(CONFIG_FILES, check_config),
    "terminal flags": Target(ARGUMENTS, check_flags),
    "events file": Target(EVENT_LINES, check_events),
    "photo": Target(mutated(PHOTOS, [b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff"]), check_photo),
    "caption": Target(mutated([b"a photo of sks dog", b""], CAPTION_TOKENS), check_caption),
    "prompt": Target(PROMPTS, check_prompt),
}
