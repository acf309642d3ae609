"""What a safetensors header says; bad ones are in test_bad_safetensors.py."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from trainer.errors import ConfigError
from trainer.model_files.header import read_floats, read_header

from ..helpers.model_files import file_bytes, write_model


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


@pytest.mark.parametrize("length", [0x280, 0x4B50])
def test_header_length_that_looks_like_a_pickle_is_read(length: int, tmp_path: Path) -> None:
    text = json.dumps(GOOD).encode().ljust(length)
    path = tmp_path / "x.safetensors"
    path.write_bytes(file_bytes(text, bytes(8)))
    assert path.read_bytes()[:2] in (b"\x80\x02", b"PK")
    assert read_header(path).tensors["x"].shape == (2,)
