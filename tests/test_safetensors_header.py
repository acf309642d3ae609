"""Bad files are named, and no bytes end in anything but an answer or a ConfigError."""

from __future__ import annotations

import json
import os
import random
import struct
from pathlib import Path
from typing import Any

import pytest

from trainer.errors import ConfigError
from trainer.model_file import describe, identify
from trainer.safetensors_header import read_floats, read_header

from .model_files import SD1, SDXL, document_of, file_bytes, kohya_lora, write_model


@pytest.mark.parametrize(
    ("dtype", "data"),
    [
        ("F32", struct.pack("<2f", 1.5, -2)),
        ("F16", struct.pack("<2e", 1.5, -2)),
        ("BF16", struct.pack("<f", 1.5)[2:] + struct.pack("<f", -2)[2:]),
    ],
)
def test_floats_are_read_at_their_place(dtype: str, data: bytes, tmp_path: Path) -> None:
    entries = {
        "a": {"dtype": "U8", "shape": [3], "data_offsets": [0, 3]},
        "x": {"dtype": dtype, "shape": [2], "data_offsets": [3, 3 + len(data)]},
    }
    path = tmp_path / "x.safetensors"
    path.write_bytes(file_bytes(entries, b"abc" + data))
    header = read_header(path)
    assert read_floats(header, "x") == (1.5, -2.0)
    assert read_floats(header, "a") is None


def test_file_cut_after_its_header_was_read_is_a_config_error(tmp_path: Path) -> None:
    path = write_model(tmp_path / "model.safetensors", {"x": (2,)})
    header = read_header(path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ConfigError, match="truncated"):
        read_floats(header, "x")


GOOD = {"x": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}
HUGE = b"9" * 5000


def entry(**changes: Any) -> dict[str, Any]:
    return {"x": GOOD["x"] | changes}


BAD_FILES = {
    "empty": (b"", "holds 0 bytes"),
    "short": (b"\x02\0\0\0\0\0\0\0", "holds 8 bytes"),
    "web page": (b"\n<!DOCTYPE html><html><body>Log in</body></html>", "is a web page"),
    "xml": (b"<?xml version='1.0'?><Error>AccessDenied</Error>", "is a web page"),
    "lfs pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "Git LFS"),
    "json text": (b'{"error": "Repository not found"}', "is no safetensors file"),
    "gguf": (b"GGUF\x03\0\0\0" + bytes(60), "is a GGUF file"),
    "zip pickle": (b"PK\x03\x04\0\0\x08\x08" + bytes(60), "is a pickle file.*run any code"),
    "old pickle": (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", "is a pickle file"),
    "noise": (b"\xff" * 80, "is no safetensors file"),
    "long header": (struct.pack("<Q", 100_000_001) + b"{" + bytes(20), "is no safetensors file"),
    "cut header": (file_bytes(GOOD, b"")[:30], "is truncated: it has 30 of at least"),
    "cut data": (file_bytes(GOOD, bytes(7)), "is truncated.*Download it again"),
    "extra data": (file_bytes(GOOD, bytes(9)), "1 bytes follow its last tensor"),
    "no JSON": (file_bytes(b"{hello}   ", b""), "no valid JSON"),
    "no UTF-8": (file_bytes(b'{"\xff": 1}  ', b""), "no valid JSON"),
    "twice": (file_bytes(b'{"a": {}, "a": {}}', b""), "a name occurs twice"),
    "NaN": (file_bytes(b'{"a": NaN}   ', b""), "NaN is no number"),
    "deep": (file_bytes(b'{"a":' + b"[" * 200_000, b""), "no valid JSON"),
    "huge number": (file_bytes(b'{"a":' + HUGE + b"}", b""), "no valid JSON|no tensor entry"),
    "metadata": (file_bytes({"__metadata__": {"a": 1}}, b""), "its metadata are not texts"),
    "metadata list": (file_bytes({"__metadata__": []}, b""), "its metadata are not texts"),
    "no entry": (file_bytes({"x": 7}, b""), "'x' is no tensor entry"),
    "dtype": (file_bytes(entry(dtype="F7"), bytes(8)), "unknown dtype"),
    "dtype list": (file_bytes(entry(dtype=["F32"]), bytes(8)), "unknown dtype"),
    "negative shape": (file_bytes(entry(shape=[-2]), bytes(8)), "no valid shape"),
    "float shape": (file_bytes(entry(shape=[2.0]), bytes(8)), "no valid shape"),
    "bool shape": (file_bytes(entry(shape=[True, 2]), bytes(8)), "no valid shape"),
    "no shape": (file_bytes(entry(shape=None), bytes(8)), "no valid shape"),
    "long shape": (file_bytes(entry(shape=[1] * 65), bytes(8)), "no valid shape"),
    "huge shape": (file_bytes(entry(shape=[2**63]), bytes(8)), "no valid shape"),
    "wrong size": (file_bytes(entry(shape=[3]), bytes(8)), "another number of bytes"),
    "swapped": (file_bytes(entry(data_offsets=[8, 0]), bytes(8)), "no valid place"),
    "three offsets": (file_bytes(entry(data_offsets=[0, 8, 8]), bytes(8)), "no valid place"),
    "gap": (file_bytes(entry(data_offsets=[4, 12]), bytes(12)), "overlap or leave gaps"),
    "overlap": (file_bytes(GOOD | {"y": GOOD["x"]}, bytes(8)), "overlap or leave gaps"),
}


@pytest.mark.parametrize(("content", "message"), BAD_FILES.values(), ids=BAD_FILES)
def test_bad_files_are_named(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.safetensors"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=message) as caught:
        identify(path)
    assert str(path) in caught.value.message
    assert caught.value.hint.endswith((".", "site."))


@pytest.mark.parametrize("suffix", [".ckpt", ".pt", ".pth", ".bin", ".CKPT"])
def test_pickle_suffix_says_how_to_convert(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"model{suffix}"
    path.write_bytes(b"anything")
    with pytest.raises(ConfigError, match="run any code.*'Save Checkpoint'.*'No interpolation'"):
        identify(path)


@pytest.mark.parametrize("length", [0x280, 0x4B50])
def test_header_length_that_looks_like_a_pickle_is_read(length: int, tmp_path: Path) -> None:
    text = json.dumps(GOOD).encode().ljust(length)
    path = tmp_path / "x.safetensors"
    path.write_bytes(file_bytes(text, bytes(8)))
    assert path.read_bytes()[:2] in (b"\x80\x02", b"PK")
    assert read_header(path).tensors["x"].shape == (2,)


@pytest.mark.parametrize("name", ["missing.safetensors", "a\0b.safetensors", "x" * 5000])
def test_absent_file_is_a_config_error(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist|cannot be read"):
        identify(tmp_path / name)


def test_file_without_permission_is_a_config_error(tmp_path: Path) -> None:
    path = write_model(tmp_path / "model.safetensors", SD1)
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    with pytest.raises(ConfigError, match="cannot be read"):
        identify(path)


def mutated(content: bytes, rng: random.Random) -> bytes:
    """A file with a few bytes or parts changed, mostly in its header."""
    changed = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(len(changed)) if changed else 0
        action = rng.randrange(5)
        if action == 0:
            changed[place : place + 1] = rng.randbytes(1)
        elif action == 1:
            del changed[place : place + rng.randint(1, 20)]
        elif action == 2:
            changed[place:place] = rng.choice([b"[" * 2000, b"9" * 30, b"NaN", b'"', b"-", b"{}"])
        elif action == 3:
            changed[place : place + 2] = rng.choice([b"1e", b'":', b"],", b"\\u", b"\xed\xa0"])
        else:
            changed = changed[:place]
    if rng.random() < 0.7:  # keep the length true, so that the damage reaches the parser
        length = max(
            0, min(len(changed) - 8, content.find(b"}}") - 6 + len(changed) - len(content))
        )
        changed[:8] = struct.pack("<Q", length)
    return bytes(changed)


def test_any_bytes_end_in_an_answer_or_a_config_error(tmp_path: Path) -> None:
    rng = random.Random(8)
    path = tmp_path / "fuzz.safetensors"
    samples = [file_bytes(*document_of(shapes, {})) for shapes in (SD1, SDXL, kohya_lora(768))]
    refused = 0
    for _ in range(4000):
        noise = rng.randbytes(rng.randint(0, 200))
        path.write_bytes(noise if rng.random() < 0.1 else mutated(rng.choice(samples), rng))
        try:
            assert describe(path)
        except ConfigError:
            refused += 1
    assert 2000 < refused < 4000
