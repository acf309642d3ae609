"""Bad configs and flags: each is refused by the setting's or the file's name, with a remedy."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from trainer.config.config import Config, all_settings, read_config_file
from trainer.config.settings import Setting
from trainer.errors import ConfigError
from trainer.terminal.cli import main

from ..helpers.bad_input import check_error, memory_limit, refused, time_limit
from ..helpers.fuzz_targets import TARGETS

POSIX = pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")
REQUIRED: dict[str, Any] = {
    "base": "base.safetensors",
    "instance_images": ["photos"],
    "instance_prompt": "a photo of sks dog",
    "output": "loras/dog.safetensors",
}
SPECS = [spec for _, spec in all_settings()]
WRONG: dict[str, Any] = {
    "null": None,
    "true": True,
    "list": [1],
    "nested list": [[["a"]]],
    "object": {"a": 1},
    "text": "perhaps",
    "NaN": float("nan"),
    "infinity": float("inf"),
    "1e999": 10**999,
    "negative": -1,
    "2^63": 2**63,
    "4000 digits": 10**4000,
    "fraction": 0.123456,
    "NUL": "a\0b",
    "half a character": "\ud800",
    "long": "x" * 8193,
    "long list": ["x" * 8193],
    "list with NUL": ["photos", "a\0b"],
    "list with null": ["photos", None],
}


BESIDE: dict[str, dict[str, object]] = {  # without which these settings have no effect
    "text_encoder_": {"train_text_encoder": True},
    "lr_num_cycles": {"lr_scheduler": "cosine_with_restarts"},
    "lr_power": {"lr_scheduler": "polynomial"},
}


@pytest.mark.parametrize("kind", WRONG)
def test_every_setting_refuses_by_name_what_it_cannot_be(kind: str) -> None:
    """Accepted are only values of the setting's own type, which then survive being written."""
    accepted: set[str] = set()
    for spec in SPECS:
        beside = next((v for mark, v in BESIDE.items() if spec.name.startswith(mark)), {})
        text = json.dumps(REQUIRED | beside | {spec.name: WRONG[kind]})
        try:
            with time_limit():
                config = Config.from_json(text)
        except ConfigError as error:
            check_error(error)
            assert spec.name in error.message
        else:
            accepted.add(spec.name)
            assert Config.from_json(config.to_json()) == config
    assert accepted == {spec.name for spec in SPECS if may_be(spec, kind)}


def may_be(spec: Setting, kind: str) -> bool:
    """Whether a kind of the table is a value of the setting."""
    if kind == "null":
        return spec.optional
    if kind == "true":
        return spec.type is bool
    if kind == "fraction":
        in_bounds = (spec.minimum or 0) <= 0.123456 and spec.maximum is not None
        return spec.type is float and in_bounds
    free_text = spec.type in (str, tuple) and not spec.choices and spec.name != "output"
    return kind == "text" and free_text


VALUES: dict[str, tuple[dict[str, Any], str]] = {
    "rank 0": ({"rank": 0}, "rank is 0"),
    "rank half": ({"rank": 2.5}, "rank is 2.5"),
    "rank true": ({"rank": True}, "rank is True"),
    "rank 1.0": ({"rank": 1.0}, "rank is 1.0"),
    "rank hex": ({"rank": "0x10"}, "rank is '0x10'"),
    "rank digits": ({"rank": "9" * 5000}, "rank is '9999"),
    "resolution": ({"resolution": 500}, "resolution is 500"),
    "resolution huge": ({"resolution": 64 * 10**6}, "resolution is 64000000"),
    "rate zero": ({"learning_rate": 0}, "learning_rate is 0.0"),
    "rate text": ({"learning_rate": "fast"}, "learning_rate is 'fast'"),
    "rate nan": ({"learning_rate": "nan"}, "learning_rate is nan"),
    "rate infinite": ({"learning_rate": "1e999"}, "learning_rate is inf"),
    "flip": ({"flip": "perhaps"}, "flip is 'perhaps'"),
    "flip 1": ({"flip": 1}, "flip is 1"),
    "crop_mode": ({"crop_mode": "centre"}, "crop_mode is 'centre'"),
    "crop_mode case": ({"crop_mode": "Center"}, "crop_mode is 'Center'"),
    "prompt": ({"instance_prompt": "  "}, "instance_prompt is empty"),
    "no images": ({"instance_images": []}, "instance_images is empty"),
    "number for images": ({"instance_images": 5}, "instance_images is 5"),
    "prompts": ({"sample_prompts": [1]}, "sample_prompts is"),
    "many prompts": ({"sample_prompts": ["dog"] * 101}, "sample_prompts has 101 entries"),
    "many photos": ({"instance_images": ["a"] * 10_001}, "instance_images has 10,001 entries"),
    "unknown": ({"rnk": 8}, "no setting 'rnk'"),
    "group without object": ({"trained": 5}, "no setting 'trained'"),
    "group list": ({"trained": []}, "no setting 'trained'"),
    "unknown in group": ({"trained": {"rnk": 1}}, "no setting 'rnk'"),
    "of another group": ({"trained": {"seed": 1}}, "no setting 'seed'"),
    "group in group": ({"trained": {"trained": {"rank": 1}}}, "no setting 'trained'"),
    "twice": ({"rank": 4, "trained": {"rank": 8}}, "'rank' is given twice"),
    "empty name": ({"": 1}, "no setting ''"),
    "control in name": ({"\x1b[2J": 1}, "no setting"),
    "half a character in name": ({"\ud800": 1}, "no setting"),
    "long name": ({"x" * 1_000_000: 1}, "no setting 'xxxx"),
    "prototype": ({"__class__": 1}, "no setting '__class__'"),
    "no suffix": ({"output": "dog"}, "output 'dog' is not a .safetensors file name"),
    "pickle": ({"output": "dog.ckpt"}, "is not a .safetensors file name"),
    "suffix alone": ({"output": ".safetensors"}, "output '' is empty"),
    "folder": ({"output": "loras/.safetensors"}, "output '' is empty"),
    "parent": ({"output": "loras/...safetensors"}, "starts or ends with a space or dot"),
    "device": ({"output": "loras/CON.safetensors"}, "'CON' is a name that Windows reserves"),
    "port": ({"output": "loras/lpt1.x.safetensors"}, "Windows reserves"),
    "colon": ({"output": "a:b.safetensors"}, "contains ':'"),
    "question": ({"output": "a?.safetensors"}, r"contains '\?'"),
    "newline": ({"output": "a\nb.safetensors"}, "contains"),
    "NUL in folder": ({"output": "a\0b/dog.safetensors"}, "output contains"),
    "direction": ({"output": "dog\u202e.safetensors"}, "invisible"),
    "space": ({"output": " dog.safetensors"}, "starts or ends with a space"),
    "name": ({"output": "ü" * 100 + ".safetensors"}, "longer than 180 bytes"),
}


@pytest.mark.parametrize("kind", VALUES)
def test_a_bad_value_is_named(kind: str) -> None:
    values, message = VALUES[kind]
    refused(lambda: Config.from_json(json.dumps(REQUIRED | values)), message)


GOOD = json.dumps(REQUIRED).encode()
FILES: dict[str, tuple[bytes | Callable[[], bytes], str]] = {
    "empty": (b"", "is not valid JSON"),
    "blank": (b" \n", "is not valid JSON"),
    "list": (b"[]", "is not a JSON object"),
    "null": (b"null", "is not a JSON object"),
    "number": (b"5", "is not a JSON object"),
    "text": (b'"train"', "is not a JSON object"),
    "cut": (GOOD[:-1], "is not valid JSON"),
    "two": (GOOD + GOOD, "is not valid JSON: Extra data"),
    "yaml": (b"rank: 4\n", "is not valid JSON"),
    "toml": (b"[lora]\nrank = 4\n", "is not valid JSON"),
    "comment": (b"// mine\n" + GOOD, "is not valid JSON"),
    "last comma": (GOOD[:-1] + b",}", "is not valid JSON"),
    "single quotes": (b"{'rank': 4}", "is not valid JSON"),
    "python": (b'{"rank": __import__("os")}', "is not valid JSON"),
    "pickle": (b"\x80\x04}\x94.", "is not valid JSON"),
    "safetensors": (b"\x10\0\0\0\0\0\0\0{}", "is not valid JSON"),
    "zeros": (bytes(1000), "is not valid JSON"),
    "latin-1": (b'{"instance_prompt": "d\xe9j\xe0"}', "is not valid JSON: 'utf-8'"),
    "utf-16": (GOOD.decode().encode("utf-16"), "is not valid JSON: 'utf-8'"),
    "half a character": (b'{"instance_prompt": "\xed\xa0\x80"}', "is not valid JSON: 'utf-8'"),
    "control in text": (b'{"instance_prompt": "a\nb"}', "is not valid JSON"),
    "deep lists": (b'{"rank": ' + b"[" * 200_000, "nested too deeply"),
    "deep objects": (b'{"rank":' * 100_000, "nested too deeply"),
    "deep and whole": (b'{"rank":' + b"[" * 10**5 + b"]" * 10**5 + b"}", "nested too deeply"),
    "twice": (b'{"rank": 4, "rank": 8}', "a name occurs twice"),
    "group twice": (b'{"trained": {}, "trained": {}}', "a name occurs twice"),
    "number of 5000 digits": (b'{"rank": ' + b"9" * 5000 + b"}", "is not valid JSON"),
    "50 MB": (lambda: b'{"rank": "' + b"9" * 50_000_000 + b'"}', "more than 10,000,000 bytes"),
    "50 MB of space": (lambda: b" " * 50_000_000 + GOOD, "more than 10,000,000 bytes"),
}


@pytest.mark.parametrize("kind", FILES)
def test_a_config_file_that_is_none_is_refused_by_name(kind: str, tmp_path: Path) -> None:
    content, message = FILES[kind]
    path = tmp_path / "config.json"
    path.write_bytes(content() if callable(content) else content)
    with memory_limit(300):
        error = refused(lambda: read_config_file(path), message)
    assert str(path) in error.message


def test_a_config_file_with_a_mark_of_utf8_is_read(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD)
    assert Config.from_values(read_config_file(path)).model.base == "base.safetensors"


@POSIX
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (os.mkfifo, "is a pipe or device"),
        (lambda path: path.symlink_to("/dev/zero"), "is a pipe or device"),
        (lambda path: path.symlink_to(path.name), "does not exist|cannot be read"),
        (lambda path: path.mkdir(), "is a folder"),
        (lambda path: None, "does not exist"),
    ],
    ids=["pipe", "device", "loop", "folder", "absent"],
)
def test_a_config_that_is_no_file_is_refused_and_never_waited_for(
    make: Callable[[Path], object], message: str, tmp_path: Path
) -> None:
    make(tmp_path / "config.json")
    refused(lambda: read_config_file(tmp_path / "config.json"), message)


@pytest.mark.parametrize("text", ["", "[]", "{", "null", "[" * 10**5, '{"rank": 1, "rank": 2}'])
def test_a_config_text_that_is_none_is_refused(text: str) -> None:
    refused(lambda: Config.from_json(text), "The config is (not JSON|not a JSON object)")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--rank"],
        ["--no-such-flag", "1"],
        ["--preset", "none"],
        ["--rank", "4", "5"],
        ["--resume=yes"],
    ],
)
def test_flags_that_are_none_end_with_exit_code_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("Error: ")


@settings(max_examples=200, deadline=None)
@given(content=TARGETS["config file"].inputs)
def test_any_config_file_ends_in_a_config_or_a_config_error(content: bytes) -> None:
    TARGETS["config file"].check(content)


@settings(max_examples=60, deadline=None)
@given(arguments=TARGETS["terminal flags"].inputs)
def test_any_flags_end_in_a_config_or_an_error(arguments: list[str]) -> None:
    TARGETS["terminal flags"].check(arguments)


@settings(max_examples=200, deadline=None)
@given(text=TARGETS["prompt"].inputs)
def test_any_prompt_ends_in_77_ids_or_a_config_error(text: str) -> None:
    TARGETS["prompt"].check(text)


@settings(max_examples=100, deadline=None)
@given(content=TARGETS["caption"].inputs)
def test_any_caption_ends_in_a_prompt_or_a_config_error(content: bytes) -> None:
    TARGETS["caption"].check(content)
