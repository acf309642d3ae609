"""The embedded model: packed and expanded, refused where it is damaged, and used as a base."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors import SafetensorError

from trainer.config.model import ModelConfig
from trainer.errors import ConfigError
from trainer.terminal import cli
from trainer.worker.base import embedded, models
from trainer.worker.base.embedded import PACKED, embedded_folder
from trainer.worker.base.parts import Parts
from trainer.worker.base.prompts import encode_prompts
from trainer.worker.data.encoding import Encoder
from trainer.worker.data.latents import LatentCache
from trainer.worker.minisd.names import words
from trainer.worker.minisd.pack import TOKEN_TABLE, expand, pack, untrained_tokens
from trainer.worker.minisd.parts import (
    TOKENS,
    VOCABULARY,
    encode,
    make_text_encoder,
    make_unet,
    make_vae,
)
from trainer.worker.training.prepare import cache_bytes, check_sources

MIB = 1 << 20


@pytest.fixture(scope="module")
def parts() -> dict[str, Any]:
    torch.manual_seed(0)
    vae = make_vae()
    vae.register_to_config(scaling_factor=0.375)
    return {"unet": make_unet(), "text_encoder": make_text_encoder(), "vae": vae}


@pytest.fixture(scope="module")
def folder(parts: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The parts, packed and expanded again."""
    work = tmp_path_factory.mktemp("packed")
    (work / "model.safetensors").write_bytes(pack(**parts))
    expand(work / "model.safetensors", work / "model")
    return work / "model"


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    """A file with its checksum next to it, as in the trainer's own folder."""
    file = tmp_path / "weights" / "model.safetensors"
    file.parent.mkdir()
    file.write_bytes(b"packed weights")
    file.with_suffix(".sha256").write_text(hashlib.sha256(b"packed weights").hexdigest() + "\n")
    return file


def fake_expand(_file: Path, folder: Path) -> None:
    folder.mkdir()
    (folder / "model_index.json").write_text("{}")


def open_expanded(folder: Path) -> models.BaseModel:
    return models.open_base(ModelConfig(str(folder)))


def test_expanded_weights_are_those_that_were_packed(parts: dict[str, Any], folder: Path):
    base = open_expanded(folder)
    assert base.family.name == "sd1"
    unet = models.load_unet(base, torch.float32)
    for name, weight in parts["unet"].named_parameters():
        found = unet.get_parameter(name)
        if weight.ndim < 2:
            assert torch.equal(found, weight.half().float()), name
            continue
        step = weight.flatten(1).abs().amax(1) / 127  # (outputs,), then rounded to float16
        error = (found - weight).flatten(1).abs().amax(1)
        assert (error <= 0.5 * step + 1e-3 * weight.abs().max()).all(), name
    vae = models.load_vae(base)
    weights = dict(parts["vae"].named_parameters())
    assert {name: found for name, found in vae.named_parameters()}.keys() == weights.keys()
    for name, found in vae.named_parameters():
        assert torch.equal(found, weights[name].half().float()), name
    assert vae.config["scaling_factor"] == 0.375
    assert models.vae_factor(vae) == 4


def test_prompts_are_read_as_they_were_in_its_training(parts: dict[str, Any], folder: Path):
    base = open_expanded(folder)
    encoders = models.load_text_encoders(base, torch.float32)
    prompts = ["a photo of a red dog on a beach", ""]
    with torch.no_grad():
        found = encode_prompts(base.family, encoders, prompts).embeds
        wanted = encode(parts["text_encoder"], prompts)
    assert torch.cosine_similarity(found, wanted, dim=-1).min() > 0.999


def test_room_is_asked_for_all_that_its_latents_take(folder, make_config, tmp_path):
    sources = check_sources(make_config(base=str(folder), flip=True))
    parts = Parts(sources.base, torch.device("cpu"), torch.float32, lambda event: None)
    latents = LatentCache(tmp_path, "vae", parts.encode)
    encoder = Encoder(latents, parts.report, lambda: None)
    images = encoder.encode(sources.photos[0], sources.config.concepts[0].instance)
    assert cache_bytes(sources) == sum(image.latents.nbytes for image in images)


def test_words_that_no_caption_has_keep_their_untrained_embeddings(folder: Path):
    (encoder,) = models.load_text_encoders(open_expanded(folder), torch.float32)
    table = dict(encoder.named_parameters())
    (found,) = [value for name, value in table.items() if name.endswith(TOKEN_TABLE)]
    others = torch.ones(VOCABULARY, dtype=torch.bool)
    others[TOKENS] = False
    assert torch.equal(found[others], untrained_tokens()[others].float())
    assert not torch.equal(found[TOKENS], untrained_tokens()[TOKENS].float())


def test_the_untrained_embeddings_are_the_same_everywhere():
    digest = hashlib.sha256(untrained_tokens().numpy().tobytes()).hexdigest()
    assert digest == "a90f211a43b9ba312ff40ee232a938a1b4e7aa69b4a335b30b4f64543351ffa4"


def test_expansion_happens_once(packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("trainer.worker.minisd.pack.expand", fake_expand)
    first = embedded_folder(packed, tmp_path / "out")
    monkeypatch.setattr("trainer.worker.minisd.pack.expand", None)
    assert embedded_folder(packed, tmp_path / "out") == first
    assert (first / "model_index.json").is_file()


def test_two_that_ask_at_once_get_one_folder(
    packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    calls: list[Path] = []
    begun, both_wait = threading.Event(), threading.Event()

    def slow_expand(file: Path, folder: Path) -> None:
        calls.append(folder)
        begun.set()
        both_wait.wait(10)
        fake_expand(file, folder)

    monkeypatch.setattr("trainer.worker.minisd.pack.expand", slow_expand)
    found: list[Path] = []
    ask = lambda: found.append(embedded_folder(packed, tmp_path / "out"))  # noqa: E731
    threads = [threading.Thread(target=ask) for _ in range(2)]
    threads[0].start()
    assert begun.wait(10)
    threads[1].start()
    both_wait.set()
    for thread in threads:
        thread.join(30)
    assert len(calls) == 1 and len(found) == 2 and found[0] == found[1]


def test_what_a_killed_expansion_left_is_replaced(
    packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    digest = packed.with_suffix(".sha256").read_text()[:16]
    (tmp_path / "out" / digest / "partial" / "unet").mkdir(parents=True)
    monkeypatch.setattr("trainer.worker.minisd.pack.expand", fake_expand)
    folder = embedded_folder(packed, tmp_path / "out")
    assert sorted(path.name for path in folder.iterdir()) == ["model_index.json"]
    assert sorted(path.name for path in folder.parent.iterdir()) == ["embedded", "sizes.json"]


@pytest.mark.parametrize("content", [None, "", "{}  "])
def test_a_copy_that_was_damaged_since_is_made_again(
    content: str | None, packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("trainer.worker.minisd.pack.expand", fake_expand)
    index = embedded_folder(packed, tmp_path / "out") / "model_index.json"
    index.unlink() if content is None else index.write_text(content)
    assert embedded_folder(packed, tmp_path / "out") == index.parent
    assert index.read_text() == "{}"


FULL = [OSError(28, "No space left on device"), SafetensorError("I/O error: No space left")]


@pytest.mark.parametrize("error", FULL, ids=["of Python", "of safetensors"])
def test_a_disk_that_fills_up_is_told_and_leaves_nothing(
    error: Exception, packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def full(_file: Path, folder: Path) -> None:
        folder.mkdir()
        (folder / "half").write_bytes(b"half")
        raise error

    monkeypatch.setattr("trainer.worker.minisd.pack.expand", full)
    assert "No space" in refused(packed, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").rglob("*") if path.is_file()] == ["lock"]


def refused(packed: Path, out: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        embedded_folder(packed, out)
    assert caught.value.hint
    return caught.value.message


def test_missing_and_damaged_weights_are_refused(packed: Path, tmp_path: Path):
    out = tmp_path / "out"
    packed.write_bytes(b"packed wEights")
    assert "damaged" in refused(packed, out)
    packed.with_suffix(".sha256").write_bytes(b"\xff\xfe")
    assert "cannot be read" in refused(packed, out)
    packed.unlink()
    assert "cannot be read" in refused(packed, out)
    assert not out.exists()


def test_too_little_room_is_refused(packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(embedded, "free_bytes", lambda folder: 20 * MIB)
    message = refused(packed, tmp_path / "out")
    assert "20 MiB free" in message and "needs" in message
    assert not (tmp_path / "out").exists()


def test_a_target_that_cannot_be_written_to_is_refused(packed: Path, tmp_path: Path):
    (tmp_path / "file").write_text("no folder")
    assert "cannot be written" in refused(packed, tmp_path / "file" / "out")


def test_the_weights_that_ship_are_whole_and_small(tmp_path: Path):
    folder = embedded_folder(expanded=tmp_path)
    assert open_expanded(folder).family.name == "sd1"
    assert PACKED.stat().st_size < 25 * MIB
    assert sum(path.stat().st_size for path in folder.rglob("*")) < embedded.EXPANDED_BYTES


def test_the_words_are_those_that_the_weights_know():
    """Another list gives the tokens other rows of the weights, which then need retraining."""
    digest = hashlib.sha256(" ".join(words()).encode()).hexdigest()
    assert digest.startswith("ac91e6851604546f")


@pytest.mark.parametrize(
    "more",
    [
        ["sample", "--prompt", "a dog", "--steps", "2"],
        ["class-images", "--class-prompt", "a photo of a dog", "--num-class-images", "1"],
        ["plan", "--instance-prompt", "sks dog", "--output", "a.safetensors"],
    ],
    ids=lambda more: more[0],
)
def test_it_is_a_base_by_its_name(
    more: list[str], photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    given = [*more, *(["--instance-images", str(photos)] if more[0] == "plan" else [])]
    wrong = ["--base", "embedded", "--resolution", "512"]
    assert cli.main([*given, *wrong]) == 2  # its pictures have 128 px
    flags = ["--base", "embedded", "--mixed-precision", "no"]
    flags += ["--class-inference-steps", "2"] if more[0] == "class-images" else []
    assert cli.main([*given, *flags]) == 0
    drawn = [path for path in tmp_path.rglob("*.png") if path.parent != photos]
    assert len(drawn) == (0 if more[0] == "plan" else 1)
    for path in drawn:
        with Image.open(path) as picture:
            assert picture.size == (128, 128)


def test_inspect_tells_it_from_a_folder_of_that_name(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["inspect", "embedded"]) == 0
    assert "SD 1.x" in capsys.readouterr().out
    assert cli.main(["inspect", "./embedded"]) == 2
    (tmp_path / "embedded").symlink_to(folder, target_is_directory=True)
    assert cli.main(["inspect", "./embedded"]) == 0
