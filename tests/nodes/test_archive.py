"""The archive for the Comfy registry: what it holds, and that it works on its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import CheckpointMaker
from tests.helpers.comfy_host import ComfyServer, skip_reason
from tests.nodes.test_comfy import CHECKPOINT, graph, lora_file, photo_node, train_node
from trainer.environment import environment

PACK = Path(__file__).parents[2]
HELD = {
    "LICENSE", "NOTICE", "README.md", "__init__.py", "dreambooth.py", "example_workflows",
    "install.py", "nodes", "pyproject.toml", "requirements", "requirements.txt", "trainer", "web",
}  # fmt: skip
TOOL = os.environ.get("COMFY_CLI") or shutil.which("comfy")
NO_HOST = skip_reason()


def git(folder: Path, *arguments: str) -> list[str]:
    """Run git and return its NUL-separated output."""
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout.split("\0")


def is_clone() -> bool:
    return shutil.which("git") is not None and (PACK / ".git").exists()


pytestmark = pytest.mark.skipif(not is_clone(), reason="not a clone")


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh repository of the tracked files as they are now, changes included."""
    folder = tmp_path_factory.mktemp("repository")
    for name in git(PACK, "ls-files", "-z"):
        if name and (PACK / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(PACK / name, folder / name)
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    return folder


@pytest.fixture(scope="module")
def archive(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the archive, unpacked: what is tracked and not ignored, as the tool takes it."""
    folder = tmp_path_factory.mktemp("archive") / "dreambooth"
    for name in held(repository):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(repository / name, folder / name)
    return folder


def held(repository: Path) -> set[str]:
    ignored = git(repository, "ls-files", "-z", "-ci", "--exclude-from=.comfyignore")
    return set(git(repository, "ls-files", "-z")) - set(ignored) - {""}


def test_the_archive_holds_what_comfyui_needs_and_nothing_else(repository: Path) -> None:
    names = held(repository)
    assert {name.partition("/")[0] for name in names} == HELD
    locks = {"requirements/lock/trainer.txt", "requirements/lock/torch.txt"}
    assert locks <= {name for name in names if name.startswith("requirements/")}
    assert not any(name.endswith(("renew.py", "dev.txt")) for name in names)


@pytest.mark.skipif(TOOL is None, reason="comfy-cli is not installed: set COMFY_CLI to `comfy`")
def test_the_registrys_tool_packs_just_that(repository: Path) -> None:
    command = [str(TOOL), "--skip-prompt", "--no-enable-telemetry", "node", "pack"]
    env = {**os.environ, "PYTHONPATH": ""}
    subprocess.run(command, cwd=repository, env=env, check=True, timeout=120)
    with zipfile.ZipFile(repository / "node.zip") as packed:
        assert set(packed.namelist()) == held(repository)


def test_the_archive_explains_itself_without_an_environment(archive: Path) -> None:
    command = [sys.executable, "-X", "utf8", str(archive / "dreambooth.py"), "doctor"]
    env = {name: text for name, text in os.environ.items() if name != "DREAMBOOTH_PYTHON"}
    done = subprocess.run(command, env=env, capture_output=True, encoding="utf-8")
    assert f"Pack: {archive}" in done.stdout
    assert str(archive / "install.py") in done.stdout
    listed = subprocess.run(command[:-1], capture_output=True, encoding="utf-8").stdout
    assert "  train " in listed and "  test " not in listed


def test_the_archive_trains(
    archive: Path, tiny_checkpoint: CheckpointMaker, photos: Path, tmp_path: Path
) -> None:
    command = [
        sys.executable, str(archive / "dreambooth.py"), "train", "--base", tiny_checkpoint("sd1"),
        "--instance-images", photos, "--instance-prompt", "a photo of sks dog", "--resolution", 64,
        "--max-train-steps", 1, "--sample-every", "none", "--mixed-precision", "no",
        "--output", tmp_path / "dog.safetensors",
    ]  # fmt: skip
    env = environment.worker_env() | {"DREAMBOOTH_PYTHON": sys.executable}
    texts = list(map(str, command))
    done = subprocess.run(texts, env=env, cwd=tmp_path, capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "dog.safetensors").is_file()


@pytest.mark.slow
@pytest.mark.comfy
@pytest.mark.skipif(NO_HOST is not None, reason=NO_HOST or "")
def test_the_archive_trains_in_comfyui(archive: Path, photos: Path, tmp_path: Path) -> None:
    from benchmarks.random_checkpoint import save_checkpoint

    host = ComfyServer(archive, tmp_path, env={"DREAMBOOTH_PYTHON": sys.executable})
    save_checkpoint(tmp_path / "models/checkpoints" / CHECKPOINT, "sd1", "host")
    for photo in photos.iterdir():
        host.upload_image(photo, "dog")
    with host:
        host.run(graph(photos=photo_node(), train=train_node(max_train_steps=1)))
        assert lora_file(host).is_file()
