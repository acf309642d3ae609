"""The header of a safetensors file, checked completely before anything in the file is trusted."""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeGuard

from ..errors import ConfigError
from ..files.input_file import check_is_file, unique_keys, unreadable

__all__ = [
    "CONVERT",
    "DOWNLOAD_AGAIN",
    "OUTLINE",
    "Header",
    "PathLike",
    "TensorInfo",
    "read_floats",
    "read_header",
]

MAX_HEADER_BYTES = 100_000_000  # the format's own limit
MAX_VALUES = 2_000_000  # in the header; parsed, each takes up to 70 bytes; SDXL's has 20,000
MAX_NAME = 500  # characters; searching a name can take the square of its length
MAX_DIMENSIONS = 64
MAX_FLOATS = 100_000  # to read from one tensor; SD 2.x's norm has 320
LENGTH_BYTES = 8
OUTLINE = ".outline"  # suffix of a file that is only a header, without the tensors' bytes
DTYPE_BITS = {
    **{"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "BOOL": 8, "U8": 8, "I8": 8},
    **{"F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F8_E5M2FNUZ": 8, "F8_E4M3FNUZ": 8},
    **{"U16": 16, "I16": 16, "F16": 16, "BF16": 16, "U32": 32, "I32": 32, "F32": 32},
    **{"U64": 64, "I64": 64, "F64": 64, "C64": 64},
}
PICKLE_SUFFIXES = {".ckpt", ".pt", ".pth", ".bin", ".pkl"}
PICKLE_STARTS = (b"PK\x03\x04", *(bytes([0x80, protocol]) for protocol in range(2, 6)))
TEXT_STARTS = (b"<!doctype", b"<html", b"<?xml", b"<head")

DOWNLOAD_AGAIN = "Download it again."
CONVERT = (
    "If you trust it, convert it to .safetensors: in ComfyUI, load it with the checkpoint loader "
    "and add 'Save Checkpoint'; in A1111, use the checkpoint merger with 'No interpolation' and "
    "the safetensors format."
)
GIVE_SAFETENSORS = "Give a .safetensors file."

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class TensorInfo:
    """One tensor's place; `start` and `end` count bytes from the start of the first tensor."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


@dataclass(frozen=True)
class Header:
    """The header of a safetensors file; `size` and `data_start` are in bytes of the file."""

    path: Path
    tensors: Mapping[str, TensorInfo]
    metadata: Mapping[str, str]
    size: int
    data_start: int


class BadHeaderError(Exception):
    """The header breaks the format's rules; the text says which."""


def read_header(path: PathLike) -> Header:
    """Read and check only the header.

    Raises:
        ConfigError: the file does not exist, is truncated, damaged or not a safetensors file.
    """
    path = Path(path)
    check_is_file(path)
    if path.suffix.lower() in PICKLE_SUFFIXES:
        raise pickle_error(path)
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            length = read_length(file, path, size)
            text = file.read(length)
        check_size(path, text)
        document = parse_document(text)
        return checked_header(path, size, LENGTH_BYTES + length, document)
    except OSError as error:
        raise unreadable(path, error) from error
    except BadHeaderError as error:
        raise ConfigError(
            f"{path} is a damaged safetensors file: {error}.", DOWNLOAD_AGAIN
        ) from error


def check_size(path: Path, text: bytes) -> None:
    """Refuse a header that would take much memory; long texts in metadata take little."""
    values = text.count(b",") + 1
    if values > MAX_VALUES:
        raise ConfigError(
            f"{path} has a header of {values:,} values; at most {MAX_VALUES:,} are read.",
            "Remove its metadata, or use another file.",
        )


def pickle_error(path: Path) -> ConfigError:
    return ConfigError(
        f"{path} is a pickle file, which is not opened because it can run any code.", CONVERT
    )


def read_length(file: BinaryIO, path: Path, size: int) -> int:
    """Return the number of bytes of the header's text; leave the file at its start."""
    start = file.read(64)
    if len(start) < LENGTH_BYTES + 2:
        raise ConfigError(f"{path} has {size} bytes, too few for a model.", DOWNLOAD_AGAIN)
    (length,) = struct.unpack("<Q", start[:LENGTH_BYTES])
    if length > MAX_HEADER_BYTES or start[LENGTH_BYTES : LENGTH_BYTES + 1] != b"{":
        raise foreign_format(path, start)
    if LENGTH_BYTES + length > size:
        raise truncated(path, size, LENGTH_BYTES + length)
    file.seek(LENGTH_BYTES)
    return length


def foreign_format(path: Path, start: bytes) -> ConfigError:
    """Return an error that says what a file is that does not start like a safetensors file."""
    if start.startswith(PICKLE_STARTS):
        return pickle_error(path)
    if start.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(TEXT_STARTS):
        return ConfigError(
            f"{path} is a web page (HTML), not a model: the site sent a page, maybe a login page.",
            "Download the file itself; sign in first if the site requires it.",
        )
    if start.startswith(b"version https://git-lfs"):
        return ConfigError(
            f"{path} is a Git LFS pointer, not the model itself.",
            "Run `git lfs pull` in its folder, or download the file from the site.",
        )
    if start.startswith(b"GGUF"):
        return ConfigError(
            f"{path} is a GGUF file: quantized weights cannot be trained on.", GIVE_SAFETENSORS
        )
    return ConfigError(f"{path} is not a safetensors file.", GIVE_SAFETENSORS)


def truncated(path: Path, size: int, needed: int) -> ConfigError:
    return ConfigError(
        f"{path} is truncated: it has {size:,} of at least {needed:,} bytes.",
        "Download it again; if it is still being downloaded or copied, wait.",
    )


def parse_document(text: bytes) -> dict[str, Any]:
    try:
        document = json.loads(
            text.decode("utf-8"), object_pairs_hook=unique_keys, parse_constant=refuse_constant
        )
    except (ValueError, RecursionError) as error:
        raise BadHeaderError(f"its header is not valid JSON ({error})") from error
    if not isinstance(document, dict):
        raise BadHeaderError("its header is not a JSON object")
    return document


def refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number in JSON")


def checked_header(path: Path, size: int, data_start: int, document: dict[str, Any]) -> Header:
    """Check every entry, and that the tensors fill the rest of the file without gap or overlap."""
    metadata = read_metadata(document.pop("__metadata__", {}))
    tensors = {name: read_tensor_info(name, entry) for name, entry in document.items()}
    end = 0
    for start, next_end in sorted((tensor.start, tensor.end) for tensor in tensors.values()):
        if start != end:
            raise BadHeaderError("its tensors overlap or leave gaps")
        end = next_end
    if path.suffix == OUTLINE:
        size = data_start + end
    if data_start + end > size:
        raise truncated(path, size, data_start + end)
    if data_start + end < size:
        raise BadHeaderError(f"{size - data_start - end:,} bytes follow its last tensor")
    return Header(path, tensors, metadata, size, data_start)


def read_metadata(entry: Any) -> dict[str, str]:
    if not isinstance(entry, dict) or not all(map(is_text, (*entry, *entry.values()))):
        raise BadHeaderError("its metadata values are not strings")
    return entry


def is_text(value: Any) -> TypeGuard[str]:
    """Whether a value is a string without lone surrogates, which JSON allows and UTF-8 does not."""
    try:
        return isinstance(value, str) and value.encode() is not None
    except UnicodeEncodeError:
        return False


def read_tensor_info(name: str, entry: Any) -> TensorInfo:
    """Read one tensor's entry; its number of bytes must match its dtype and shape."""
    if not isinstance(entry, dict):
        raise BadHeaderError(f"{name!r:.80} is not a tensor entry")
    if len(name) > MAX_NAME or not is_text(name):
        raise BadHeaderError(f"{name!r:.80} is not a valid tensor name")
    dtype, shape, offsets = (entry.get(key) for key in ("dtype", "shape", "data_offsets"))
    if not isinstance(dtype, str) or dtype not in DTYPE_BITS:
        raise BadHeaderError(f"{name!r:.80} has an unknown dtype")
    if not are_counts(shape) or len(shape) > MAX_DIMENSIONS:
        raise BadHeaderError(f"{name!r:.80} has an invalid shape")
    if not are_counts(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise BadHeaderError(f"{name!r:.80} has invalid data offsets")
    if math.prod(shape) * DTYPE_BITS[dtype] != (offsets[1] - offsets[0]) * 8:
        raise BadHeaderError(f"{name!r:.80} has a number of bytes that does not match its shape")
    return TensorInfo(dtype, tuple(shape), offsets[0], offsets[1])


def are_counts(values: Any) -> TypeGuard[list[int]]:
    return isinstance(values, list) and all(
        type(value) is int and 0 <= value < 2**63 for value in values
    )


def read_floats(header: Header, name: str) -> tuple[float, ...] | None:
    """Return one tensor's values; None if it has many, or a dtype other than F32, F16 or BF16.

    Raises:
        ConfigError: the file was changed or removed since its header was read.
    """
    tensor = header.tensors[name]
    if math.prod(tensor.shape) > MAX_FLOATS:
        return None
    data = read_bytes(header, tensor)
    if tensor.dtype == "F32":
        return struct.unpack(f"<{len(data) // 4}f", data)
    if tensor.dtype == "F16":
        return struct.unpack(f"<{len(data) // 2}e", data)
    if tensor.dtype == "BF16":
        halves = [b"\0\0" + data[place : place + 2] for place in range(0, len(data), 2)]
        return struct.unpack(f"<{len(halves)}f", b"".join(halves))
    return None


def read_bytes(header: Header, tensor: TensorInfo) -> bytes:
    try:
        with header.path.open("rb") as file:
            file.seek(header.data_start + tensor.start)
            data = file.read(tensor.end - tensor.start)
    except OSError as error:
        raise unreadable(header.path, error) from error
    if len(data) != tensor.end - tensor.start:
        raise truncated(header.path, header.data_start + tensor.start + len(data), header.size)
    return data
