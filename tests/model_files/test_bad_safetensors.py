"""Bad model files and folders: each is refused by name; no bytes end in anything else."""

from __future__ import annotations

import io
import json
import os
import pickle
import random
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from safetensors import safe_open

from trainer.errors import ConfigError
from trainer.model_files.header import MAX_VALUES, read_header
from trainer.model_files.identify import describe, identify, predicts_velocity, require_base

from ..helpers.bad_input import check_error, memory_limit, refused, time_limit
from ..helpers.fuzz_targets import TARGETS
from ..helpers.model_files import (
    KOHYA,
    SD1,
    SD2,
    SD2_NORM,
    document_of,
    file_bytes,
    kohya_lora,
    without,
    write_model,
)

POSIX = pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")
Content = bytes | Callable[[], bytes]  # what takes long to make is made when it is needed
GOOD = {"x": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}


def entry(**changes: Any) -> dict[str, Any]:
    return {"x": GOOD["x"] | changes}


def claim(length: int, more: bytes = b"{" + bytes(30)) -> bytes:
    """A file whose first number says how long its header is."""
    return struct.pack("<Q", length) + more


def empty_tensors(names: list[str]) -> bytes:
    entry = {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]}
    return file_bytes(dict.fromkeys(names, entry), b"")


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("model.safetensors", file_bytes(GOOD, bytes(8)))
    return buffer.getvalue()


class Bomb:
    """What would run if a pickle were opened."""

    def __reduce__(self) -> Any:
        return os._exit, (9,)


DAMAGED = "damaged safetensors file: "
FOREIGN = "is not a safetensors file"
BAD: dict[str, tuple[Content, str]] = {
    "empty": (b"", "has 0 bytes"),
    "short": (b"\x02\0\0\0\0\0\0\0", "has 8 bytes"),
    "web page": (b"\n<!DOCTYPE html><html><body>Log in</body></html>", "is a web page"),
    "xml": (b"<?xml version='1.0'?><Error>AccessDenied</Error>", "is a web page"),
    "lfs pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "Git LFS"),
    "json text": (b'{"error": "Repository not found"}', FOREIGN),
    "gguf": (b"GGUF\x03\0\0\0" + bytes(60), "is a GGUF file"),
    "zip pickle": (b"PK\x03\x04\0\0\x08\x08" + bytes(60), "is a pickle file.*run any code"),
    "zip": (zipped(), "is a pickle file"),
    "old pickle": (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", "is a pickle file"),
    "pickle bomb": (pickle.dumps(Bomb(), 4) + bytes(20), "is a pickle file"),
    "first pickle": (pickle.dumps(Bomb(), 0) + bytes(20), FOREIGN),
    "photo": (b"\x89PNG\r\n\x1a\n" + bytes(60), FOREIGN),
    "gzip": (b"\x1f\x8b\x08" + bytes(60), FOREIGN),
    "tar": (b"model/".ljust(257, b"\0") + b"ustar" + bytes(600), FOREIGN),
    "onnx": (b"\x08\x07\x12\x07pytorch" + bytes(60), FOREIGN),
    "noise": (b"\xff" * 80, FOREIGN),
    "zeros": (bytes(5000), FOREIGN),
    "byte mark": (b"\xef\xbb\xbf" + file_bytes(GOOD, bytes(8)), FOREIGN),
    "no length": (claim(0), DAMAGED + "its header is not valid JSON"),
    "one byte": (claim(1), "not valid JSON"),
    "long header": (claim(100_000_001), FOREIGN),
    "200 MB header": (claim(200_000_000), FOREIGN),
    "length 2^63": (claim(2**63), FOREIGN),
    "length 2^64 - 1": (claim(2**64 - 1), FOREIGN),
    "big-endian length": (struct.pack(">Q", 60) + b"{" + bytes(80), FOREIGN),
    "longer than file": (claim(90_000_000), "is truncated: it has 39 of at least 90,000,008"),
    "cut header": (file_bytes(GOOD, b"")[:30], "is truncated: it has 30 of at least"),
    "cut data": (file_bytes(GOOD, bytes(7)), r"is truncated: it has \d\d of at least \d\d bytes"),
    "no data": (file_bytes(GOOD, b""), "is truncated"),
    "extra data": (file_bytes(GOOD, bytes(9)), "1 bytes follow its last tensor"),
    "data of nothing": (file_bytes({}, bytes(9)), "9 bytes follow its last tensor"),
    "no JSON": (file_bytes(b"{hello}   ", b""), "not valid JSON"),
    "half JSON": (file_bytes(b'{"x": {"dtype": "F32"', b""), "not valid JSON"),
    "two documents": (file_bytes(b"{}{}", b""), "not valid JSON"),
    "comment": (file_bytes(b"{} // model", b""), "not valid JSON"),
    "NUL after JSON": (file_bytes(b"{}\0\0", b""), "not valid JSON"),
    "list": (file_bytes(b" [1, 2, 3]", b""), FOREIGN),
    "no UTF-8": (file_bytes(b'{"\xff": 1}  ', b""), "not valid JSON"),
    "twice": (file_bytes(b'{"a": {}, "a": {}}', b""), "a name occurs twice"),
    "twice inside": (file_bytes(b'{"a": {"dtype": "F32", "dtype": "U8"}}', b""), "occurs twice"),
    "NaN": (file_bytes(b'{"a": NaN}   ', b""), "NaN is not a number in JSON"),
    "infinity": (file_bytes(b'{"a": -Infinity}   ', b""), "-Infinity is not a number in JSON"),
    "deep lists": (file_bytes(b'{"a":' + b"[" * 200_000, b""), "not valid JSON"),
    "deep objects": (file_bytes(b'{"a":' * 100_000, b""), "not valid JSON"),
    "huge number": (file_bytes(b'{"a":' + b"9" * 5000 + b"}", b""), "JSON|tensor entry"),
    "huge header": (
        lambda: file_bytes(b'{"a": [' + b"[]," * MAX_VALUES + b"[]]}", b""),
        "has a header of 2,000,001 values; at most 2,000,000 are read",
    ),
    "bomb of lists": (
        lambda: file_bytes(b'{"a": [' + b"[]," * (MAX_VALUES // 2) + b"[]]}", b""),
        "'a' is not a tensor entry",
    ),
    "name": (empty_tensors(["lora_te_" + "q_proj_" * 9000 + "x"]), "is not a valid tensor name"),
    "half a character": (empty_tensors(["a\ud800"]), "is not a valid tensor name"),
    "metadata": (file_bytes({"__metadata__": {"a": 1}}, b""), "are not strings"),
    "metadata list": (file_bytes({"__metadata__": []}, b""), "are not strings"),
    "metadata none": (file_bytes({"__metadata__": None}, b""), "are not strings"),
    "metadata nested": (file_bytes({"__metadata__": {"a": {}}}, b""), "are not strings"),
    "metadata half": (file_bytes({"__metadata__": {"a": "\udfff"}}, b""), "are not strings"),
    "no entry": (file_bytes({"x": 7}, b""), "'x' is not a tensor entry"),
    "no keys": (file_bytes({"x": {}}, b""), "'x' has an unknown dtype"),
    "dtype": (file_bytes(entry(dtype="F7"), bytes(8)), "unknown dtype"),
    "dtype in small": (file_bytes(entry(dtype="f32"), bytes(8)), "unknown dtype"),
    "dtype list": (file_bytes(entry(dtype=["F32"]), bytes(8)), "unknown dtype"),
    "dtype number": (file_bytes(entry(dtype=32), bytes(8)), "unknown dtype"),
    "negative shape": (file_bytes(entry(shape=[-2]), bytes(8)), "an invalid shape"),
    "two negatives": (file_bytes(entry(shape=[-1, -2]), bytes(8)), "an invalid shape"),
    "float shape": (file_bytes(entry(shape=[2.0]), bytes(8)), "an invalid shape"),
    "text shape": (file_bytes(entry(shape=["2"]), bytes(8)), "an invalid shape"),
    "shape is a number": (file_bytes(entry(shape=2), bytes(8)), "an invalid shape"),
    "bool shape": (file_bytes(entry(shape=[True, 2]), bytes(8)), "an invalid shape"),
    "no shape": (file_bytes(entry(shape=None), bytes(8)), "an invalid shape"),
    "long shape": (file_bytes(entry(shape=[1] * 65), bytes(8)), "an invalid shape"),
    "huge shape": (file_bytes(entry(shape=[2**63]), bytes(8)), "an invalid shape"),
    "overflow": (file_bytes(entry(shape=[2**32, 2**32, 2]), bytes(8)), "not match its shape"),
    "overflow to size": (
        file_bytes(entry(shape=[2**62, 4, 2**62, 4, 2]), bytes(8)), "not match its shape"
    ),
    "overflow to nothing": (
        file_bytes(entry(shape=[2**32, 2**32], data_offsets=[0, 0]), b""), "not match its shape"
    ),
    "wrong size": (file_bytes(entry(shape=[3]), bytes(8)), "not match its shape"),
    "half a byte": (
        file_bytes(entry(dtype="F4", shape=[3], data_offsets=[0, 1]), b"\0"), "not match its shape"
    ),
    "swapped": (file_bytes(entry(data_offsets=[8, 0]), bytes(8)), "invalid data offset"),
    "negative offsets": (file_bytes(entry(data_offsets=[-8, 0]), bytes(8)), "invalid data offset"),
    "bool offsets": (file_bytes(entry(data_offsets=[False, 8]), bytes(8)), "invalid data offset"),
    "float offsets": (file_bytes(entry(data_offsets=[0.0, 8.0]), bytes(8)), "invalid data offset"),
    "huge offsets": (file_bytes(entry(data_offsets=[0, 2**64]), bytes(8)), "invalid data offset"),
    "three offsets": (file_bytes(entry(data_offsets=[0, 8, 8]), bytes(8)), "invalid data offset"),
    "one offset": (file_bytes(entry(data_offsets=[8]), bytes(8)), "invalid data offset"),
    "offsets as object": (file_bytes(entry(data_offsets={"0": 8}), bytes(8)), "data offset"),
    "out of range": (file_bytes(entry(shape=[2**40], data_offsets=[0, 2**42]), bytes(8)), "trunc"),
    "gap": (file_bytes(entry(data_offsets=[4, 12]), bytes(12)), "overlap or leave gaps"),
    "overlap": (file_bytes(GOOD | {"y": GOOD["x"]}, bytes(8)), "overlap or leave gaps"),
    "part overlap": (
        file_bytes(GOOD | {"y": GOOD["x"] | {"data_offsets": [4, 12]}}, bytes(12)), "overlap"
    ),
    "many of one": (
        file_bytes({str(i): GOOD["x"] for i in range(1000)}, bytes(8)), "overlap or leave gaps"
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_bad_files_are_named(kind: str, tmp_path: Path) -> None:
    content, message = BAD[kind]
    path = tmp_path / "bad.safetensors"
    path.write_bytes(content() if callable(content) else content)
    with memory_limit(300):
        error = refused(lambda: identify(path), message)
    assert str(path) in error.message


@pytest.mark.parametrize("suffix", [".ckpt", ".pt", ".pth", ".bin", ".pkl", ".CKPT"])
def test_pickles_are_never_opened_and_the_message_says_how_to_convert(
    suffix: str, tmp_path: Path
) -> None:
    path = tmp_path / f"model{suffix}"
    path.write_bytes(pickle.dumps(Bomb()))
    error = refused(lambda: identify(path), "run any code")
    assert "'Save Checkpoint'" in error.hint and "'No interpolation'" in error.hint


@POSIX
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (os.mkfifo, "is a pipe or device"),
        (lambda path: path.symlink_to("/dev/zero"), "is a pipe or device"),
        (lambda path: path.symlink_to(path.name), "does not exist|cannot be read"),
        (lambda path: path.symlink_to("nowhere"), "does not exist"),
        (lambda path: path.mkdir(), "without model_index.json"),
        (lambda path: None, "does not exist"),
    ],
    ids=["pipe", "device", "loop", "dangling", "folder", "absent"],
)
def test_what_is_no_file_is_refused_and_never_waited_for(
    make: Callable[[Path], object], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "model.safetensors"
    make(path)
    refused(lambda: identify(path), message)


@pytest.mark.parametrize("name", ["missing.safetensors", "a\0b.safetensors", "x" * 5000, "\ud800"])
def test_names_that_no_file_has_are_refused(name: str, tmp_path: Path) -> None:
    refused(lambda: identify(tmp_path / name), "does not exist|cannot be read")


def test_file_without_permission_is_a_config_error(tmp_path: Path) -> None:
    path = write_model(tmp_path / "model.safetensors", SD1)
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    refused(lambda: identify(path), "cannot be read")


@POSIX
def test_a_huge_tensor_is_not_read_to_measure_it(tmp_path: Path) -> None:
    """SD 2.x is told by one small norm; a file may say that it has terabytes."""
    path = tmp_path / "model.safetensors"
    document, data = document_of(without(SD2, SD2_NORM), {})
    size = 2**40
    document[SD2_NORM] = {
        "dtype": "F32",
        "shape": [size // 4],
        "data_offsets": [len(data), len(data) + size],
    }
    content = file_bytes(document, data)
    with path.open("wb") as file:
        file.write(content)
        file.truncate(len(content) + size)  # a hole: it takes no space
    with memory_limit(300), time_limit():
        assert predicts_velocity(path) is None


ODD_METADATA = {
    "huge": {"ss_tag_frequency": "x" * 5_000_000},
    "many": {str(number): "" for number in range(100_000)},
    "control": {"ss_output_name": "\x1b]0;title\x07\x1b[2J\r\n"},
    "family": {"ss_base_model_version": "sd_v1\0"},
}


@pytest.mark.parametrize("kind", ODD_METADATA)
def test_odd_metadata_are_shown_shortened_and_harmless(kind: str, tmp_path: Path) -> None:
    path = write_model(tmp_path / "a.safetensors", kohya_lora(768), metadata=ODD_METADATA[kind])
    with time_limit(), memory_limit(300):
        text = describe(path)
    assert len(text) < 1000
    assert all(letter.isprintable() or letter == "\n" for letter in text)


def test_a_lora_of_very_many_ranks_and_alphas_is_described_in_time(tmp_path: Path) -> None:
    shapes = {f"lora_unet_{i}.lora_down.weight": (i, 0) for i in range(4_000)}
    shapes |= {f"lora_unet_{i}.alpha": () for i in range(4_000)}
    with time_limit(), memory_limit(300):
        assert len(describe(write_model(tmp_path / "a.safetensors", shapes))) < 2000


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_an_alpha_that_is_no_number_is_told(value: str, tmp_path: Path) -> None:
    values = {f"{KOHYA}.alpha": struct.pack("<f", float(value))}
    path = write_model(tmp_path / "a.safetensors", kohya_lora(768), values=values)
    assert f"alpha: {value}" in describe(path)


@pytest.mark.parametrize(
    "content", ["[]", "{", '{"a": 1, "a": 2}', "[" * 100_000, '{"a": "' + "x" * 10**6]
)
def test_a_broken_card_beside_a_lora_is_named(content: str, tmp_path: Path) -> None:
    path = write_model(tmp_path / "dog.safetensors", kohya_lora(768))
    path.with_suffix(".json").write_text(content)
    refused(lambda: describe(path), r"dog.json (is no|has more than)")


def diffusers_folder(folder: Path) -> Path:
    """A folder that is taken for SD 1.x."""
    for part in ("unet", "vae", "text_encoder"):
        write_model(folder / part / "model.safetensors", {"x": (1,)})
        (folder / part / "config.json").write_text("{}")
    (folder / "unet" / "config.json").write_text('{"cross_attention_dim": 768}')
    (folder / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
    return folder


FOLDER_JSON: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "is not valid JSON"),
    "list": (b"[]", "is not a JSON object"),
    "null": (b"null", "is not a JSON object"),
    "cut": (b'{"cross_attention_dim": 768', "is not valid JSON"),
    "not closed": (b'{"a": NaN', "is not valid JSON"),
    "latin-1": (b'{"a": "\xe9"}', "is not valid JSON"),
    "deep": (b"[" * 100_000, "is not valid JSON: it is nested too deeply"),
    "twice": (b'{"a": 1, "a": 2}', "a name occurs twice"),
    "NUL": (b"\0", "is not valid JSON"),
    "huge number": (b'{"in_channels": ' + b"9" * 5000 + b"}", "is not valid JSON"),
    "huge": (b'{"a": "' + b"x" * 1_000_000 + b'"}', "has more than 1,000,000 bytes"),
}


@pytest.mark.parametrize("kind", FOLDER_JSON)
@pytest.mark.parametrize("file", ["model_index.json", "unet/config.json"])
def test_broken_json_in_a_diffusers_folder_is_refused(kind: str, file: str, tmp_path: Path) -> None:
    content, message = FOLDER_JSON[kind]
    folder = diffusers_folder(tmp_path)
    (folder / file).write_bytes(content)
    error = refused(lambda: require_base(folder), message)
    assert str(folder / file) in error.message


UNETS = {
    "text width": {"cross_attention_dim": "768"},
    "no width": {"cross_attention_dim": None},
    "list of lists": {"cross_attention_dim": [[768]]},
    "empty list": {"cross_attention_dim": []},
    "bool": {"cross_attention_dim": True},
    "negative": {"cross_attention_dim": -768},
    "float": {"cross_attention_dim": 768.0},
    "huge": {"cross_attention_dim": 10**4000},
    "infinite": {"cross_attention_dim": float("inf")},
    "channels": {"cross_attention_dim": 768, "in_channels": "4"},
    "no channels": {"cross_attention_dim": 768, "in_channels": 0},
    "object": {"cross_attention_dim": 768, "in_channels": {}},
    "inpainting": {"cross_attention_dim": 768, "in_channels": 9},
}


@pytest.mark.parametrize("kind", UNETS)
def test_absurd_unet_configs_are_refused(kind: str, tmp_path: Path) -> None:
    folder = diffusers_folder(tmp_path)
    (folder / "unet" / "config.json").write_text(json.dumps(UNETS[kind]))
    refused(lambda: require_base(folder), "it cannot be trained")


BROKEN_FOLDERS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no index": (lambda f: (f / "model_index.json").unlink(), "without model_index.json"),
    "index is a folder": (
        lambda f: ((f / "model_index.json").unlink(), (f / "model_index.json").mkdir()),
        "without model_index.json",
    ),
    "no unet config": (lambda f: (f / "unet" / "config.json").unlink(), "without unet/config.json"),
    "no unet weights": (
        lambda f: (f / "unet" / "model.safetensors").unlink(), "contains no .safetensors weights"
    ),
    "no vae": (lambda f: (f / "vae" / "config.json").unlink(), "without VAE"),
    "no text encoder": (
        lambda f: (f / "text_encoder" / "model.safetensors").unlink(), "without text encoder"
    ),
    "pickle": (
        lambda f: (f / "vae" / "model.safetensors").rename(f / "vae" / "model.bin"), "is a pickle"
    ),
    "empty weights": (
        lambda f: (f / "vae" / "model.safetensors").write_bytes(b""), "has 0 bytes"
    ),
    "weights are a folder": (
        lambda f: (f / "unet" / "a.safetensors").mkdir(), "a.safetensors is a folder"
    ),
    "other class": (
        lambda f: (
            (f / "model_index.json").write_text('{"_class_name": ["\\ud800", {}]}'),
            (f / "unet" / "config.json").unlink(),
        ),
        "model without unet/config.json",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", BROKEN_FOLDERS)
def test_broken_diffusers_folders_are_refused(kind: str, tmp_path: Path) -> None:
    spoil, message = BROKEN_FOLDERS[kind]
    folder = diffusers_folder(tmp_path / "folder")
    assert require_base(folder).family == "sd1"
    spoil(folder)
    error = refused(lambda: require_base(folder), message)
    assert str(folder) in error.message


@POSIX
def test_a_pipe_among_a_folders_weights_is_refused(tmp_path: Path) -> None:
    folder = diffusers_folder(tmp_path)
    os.mkfifo(folder / "unet" / "a.safetensors")
    refused(lambda: require_base(folder), "a.safetensors is a pipe")


def test_mutated_samples_end_in_an_answer_or_a_config_error(tmp_path: Path) -> None:
    """Every single byte of a small file's header, changed in turn."""
    rng = random.Random(8)
    path = tmp_path / "model.safetensors"
    good = file_bytes(*document_of(kohya_lora(768), {}))
    end = 8 + struct.unpack("<Q", good[:8])[0]
    for place in range(end):
        changed = bytearray(good)
        changed[place] = rng.randrange(256)
        path.write_bytes(changed)
        try:
            read_header(path)
        except ConfigError as error:
            check_error(error)
        else:
            with safe_open(str(path), framework="np") as file:
                assert file.keys()


@settings(max_examples=150, deadline=None)
@given(content=TARGETS["safetensors header"].inputs)
def test_any_header_ends_in_an_answer_or_a_config_error(content: bytes) -> None:
    TARGETS["safetensors header"].check(content)
