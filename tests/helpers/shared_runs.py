"""Run folders as a stranger may share them, and all that is done with a run, done to them.

The suite tries some seeds; `python -m benchmarks.faults.fuzz_runs` does it for minutes.
"""

from __future__ import annotations

import json
import os
import random
import socket
import stat
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from trainer.config.config import Config
from trainer.files.atomic import append_lines
from trainer.photos.class_set import class_set, make_missing
from trainer.photos.crops import Crop
from trainer.photos.pictures import save_picture
from trainer.runs import events, history
from trainer.runs.control import Control
from trainer.runs.crash import crash_event
from trainer.runs.origin import own_config
from trainer.runs.report import write_report
from trainer.runs.run import Run
from trainer.worker.data.latents import LatentCache
from trainer.worker.edge import guarded
from trainer.worker.training import checkpoint
from trainer.worker.training.plot import plot_losses

from ..nodes.test_nodes import pack_module
from .bad_input import check_error, time_limit
from .tiny_state import DESCRIBED, PARTS, tiny_state

KEY, CLASSES = "k", {"seed": 1}
PLOT_SHARE = 0.1  # of the runs; a plot takes longer than all the rest
TEXTS = [
    b"", b"null", b"[]", b"{}", b"5", b"-1", b"9" * 5000, b"[" * 100_000, b"\xff\xfe", b"\0" * 99,
    b"../../outside/rc", b"*", b"[0-9]*", b"0123456789ab", b"0123456789ab-*/../../outside/*",
    b"\x1b[2J\x9b31m", b'{"fingerprint": "k"}', b'{"class_prompt": "\\ud800"}', b'{"step": 2}',
    b"//server/share/x", b"\\\\server\\share\\x", "\u202e\u2028".encode(), b"x" * 2_000_000,
]  # fmt: skip
PLACES = [
    "", "\0", "//server/share/x.safetensors", "\\\\server\\share\\x", "../../outside/rc",
    "a" * 9000, "/dev/zero", "/proc/self/mem", "~", "step_000002_0.png", "x\x1b[2J\n\ud800.png",
]  # fmt: skip
NUMBERS = [0, 1, 2, -1, 2**62, 10**400, 1.5, 1e308, float("nan"), float("inf"), "2", None, True]


class Fault(Exception):
    """Something that must not happen."""


def config_values(folder: Path) -> dict[str, Any]:
    return {
        "base": str(folder / "models" / "base.safetensors"),
        "instance_images": [str(folder / "photos")],
        "instance_prompt": "a photo of sks dog",
        "output": str(folder / "loras" / "dog.safetensors"),
    }


def event_lines(rng: random.Random, folder: Path) -> bytes:
    """Events of all kinds, with some fields that no run of ours would report."""
    found: list[events.Event] = [
        events.Started("dog", "sd1", "cpu", "float32", 3, 0, 0, 9, 1, {"weights": 5}),
        events.Status("caching", 1, 2),
        *(events.Progress(n, 9, 0.5, 0.5, 0.1, 1e-4, 1.0, 8.0, 0.1) for n in range(1, 5)),
        events.Sample(2, str(folder / "step_000002_0.png"), "a dog", 42),
        events.Warning("odd", "Something is odd.", "Look."),
        events.Finished(9, str(folder / "loras" / "dog.safetensors"), "lora", 2.0),
    ]
    lines: list[bytes] = []
    for event in found:
        document = json.loads(events.to_line(event))
        for name in rng.sample(sorted(document), rng.choice([0, 0, 1, 2])):
            document[name] = rng.choice([*NUMBERS, *PLACES])
        lines.append(json.dumps(document).encode())
    rng.shuffle(lines)
    return b"\n".join([*lines, *rng.sample(TEXTS, rng.choice([0, 1]))]) + b"\n"


def share(rng: random.Random, folder: Path) -> Run:
    """Write a run and a cache as ours would be, and let a stranger change them."""
    run = Run(folder / "runs" / "dog")
    values = config_values(folder)
    for name in rng.sample(sorted(values), rng.choice([0, 0, 1])):
        values[name] = rng.choice(PLACES)
    run.create(json.dumps(values))
    run.events.write_bytes(event_lines(rng, folder))
    history.keep_fingerprint(run, KEY)
    for name in ("worker.log", "lock", "report.html"):
        (run.folder / name).write_text("0123456789ab")
    picture = Image.new("RGB", (8, 8))
    for name in ("loss.png", "samples/step_000002_0.png", "compare/before/a.png"):
        save_picture(run.folder / name, picture)
    for step in (1, 2):
        checkpoint.save_checkpoint(run.checkpoints, step, tiny_state(updated=True), DESCRIBED)
    images = class_set(run.cache, CLASSES)
    save_picture(images.path(0), picture)
    (images.folder / "set.json").write_text(json.dumps(CLASSES))
    cached_latents(run)
    paths = sorted(path for root in (run.folder, run.cache) for path in root.rglob("*"))
    paths += [run.cache, run.folder / "new.partial", run.checkpoints / "step_000003.partial"]
    ways = rng.choice([WAYS, [text]])
    for path in rng.sample(paths, rng.randint(1, 4)):
        spoil(path, folder / "outside", rng, ways)
    return run


def spoil(path: Path, outside: Path, rng: random.Random, ways: Sequence[Way]) -> None:
    """Put something else in the place of a file or folder."""
    if not path.parent.is_dir() or path.parent.resolve().is_relative_to(outside.resolve()):
        return
    there = os.path.lexists(path)
    aside = path.with_name(f"{path.name}.aside")
    if there:
        path.rename(aside)
    rng.choice(ways)(rng, path, outside)
    if there and rng.random() < 0.5 and not aside.is_dir():
        aside.unlink()


def pipe(rng: random.Random, path: Path, outside: Path) -> None:
    os.mkfifo(path)


def socket_file(rng: random.Random, path: Path, outside: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        descriptor = os.open(path.parent, os.O_RDONLY)
        try:
            made.bind(f"/proc/self/fd/{descriptor}/{path.name}")
        finally:
            os.close(descriptor)


def link(rng: random.Random, path: Path, outside: Path) -> None:
    targets = [outside, outside / "rc", outside / "deep", outside / "none", path, Path("/dev/zero")]
    path.symlink_to(rng.choice(targets))


def second_name(rng: random.Random, path: Path, outside: Path) -> None:
    os.link(outside / "rc", path)


def folder_instead(rng: random.Random, path: Path, outside: Path) -> None:
    path.mkdir()
    if rng.random() < 0.5:
        name = rng.choice(["rc", "config.json", "a.png", "step_000009"])
        spoil(path / name, outside, rng, WAYS)


def text(rng: random.Random, path: Path, outside: Path) -> None:
    path.write_bytes(rng.choice([*TEXTS, event_lines(rng, outside)]))


Way = Callable[[random.Random, Path, Path], None]
WAYS: list[Way] = [link, link, pipe, socket_file, second_name, folder_instead, text, text]


def cached_latents(run: Run) -> None:
    import torch

    cache = LatentCache(run.cache / "latents", "vae", lambda pixels, name: torch.zeros(4, 2, 2))
    pixels = Image.fromarray(np.zeros((16, 16, 3), dtype=np.uint8))
    cache.latents(Crop(pixels, (16, 16), (0, 0), False), "a.png")


def snapshot(folder: Path) -> dict[str, Any]:
    """All that can be known about a folder without reading pipes."""
    found: dict[str, Any] = {}
    for path in (folder, *folder.rglob("*")):
        status = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(status.st_mode) else None
        times = status.st_mtime_ns
        found[str(path.relative_to(folder))] = (status.st_mode, status.st_ino, times, content)
    return found


def listed(run: Run, folder: Path) -> str:
    """What the hosts do when a page is loaded or a graph is queued."""
    places, tab = [folder / "loras"], pack_module("a1111.history")
    for one in history.runs_in(run.folder.parent):
        assert isinstance(one.number, int)
        history.past_run(one, places)
    history.runs_from(run.folder.parent, KEY, places)
    history.lost_results(run.folder.parent, places)
    json.dumps(tab.run_views(run.folder.parent, None, places))
    for pictures in tab.pictures(run).values():
        for path in pictures.values():
            if stat.S_ISLNK(path.lstat().st_mode):
                raise Fault(f"{path} would be sent")
    return f"{len(tab.run_views(run.folder.parent, None, places))} shown"


def resumed(run: Run, folder: Path, plot: bool) -> str:
    """What the worker does with a run, without the training."""
    told: list[events.Event] = []

    def execute(report: Callable[[events.Event], None]) -> events.Event:
        run.claim(folder / "loras")
        config = Config.from_values(config_values(folder))
        found, damaged = checkpoint.newest_whole(run.checkpoints, PARTS)
        if found is not None:
            checkpoint.resume(found, tiny_state(), DESCRIBED)
        for path in damaged:
            checkpoint.put_aside(path)
        run.create(config.to_json())
        report(events.Status("training"))
        cached_latents(run)
        picture = Image.new("RGB", (8, 8))
        images = class_set(run.cache, CLASSES)
        make_missing(
            images, 2, check=Control().check, waiting=lambda done: None,
            make=lambda missing: [save_picture(images.path(i), picture) for i in missing],
        )  # fmt: skip
        save_picture(run.samples / "step_000003_0.png", picture)
        checkpoint.save_checkpoint(run.checkpoints, 3, tiny_state(updated=True), DESCRIBED)
        checkpoint.prune(run.checkpoints, 1)
        if plot:
            plot_losses(run)
        last = events.Finished(3, "", "", 1.0)
        write_report(run, config, last)
        return last

    guarded(run, execute, told.append)
    last = told[-1]
    if not isinstance(last, events.Finished) and getattr(last, "code", "") != "config":
        raise Fault(f"the worker ended with {last}")
    return last.name


def attempt(action: Callable[[], object]) -> str:
    """Do something in time; anything but an error that says what to do is a fault."""
    try:
        with time_limit():
            return str(action() or "done")
    except Exception as error:
        if type(error).__name__ != "ConfigError":
            raise
        check_error(error)  # pyright: ignore[reportArgumentType] - also the hosts' own class
        return "refused"


def attack(seed: int, folder: Path) -> Counter[str]:
    """Share one run, do everything with it, and see that nothing else has changed.

    Raises:
        Fault: a link was followed.
        BaseException: anything that was raised, but for errors that say what to do.
    """
    rng = random.Random(seed)
    for name in ("outside/deep", "runs/mine", "loras"):
        (folder / name).mkdir(parents=True)
    for name in ("outside/rc", "outside/deep/lock", "outside/deep/config.json", "outside/a.png"):
        (folder / name).write_text("{}")
    (folder / "outside" / ".0123456789ab-1.partial").touch()
    run = share(rng, folder)
    watched = [folder / name for name in ("outside", "runs/mine", "loras")]
    before = [snapshot(path) for path in watched]
    orders, plot = pack_module("a1111.orders"), rng.random() < PLOT_SHARE
    places = orders.Places(
        folder / "runs", folder / "loras", {}, pack_module("a1111.reach").Reach(True, None)
    )
    theirs = pack_module("trainer.runs.run").Run(run.folder)
    actions: dict[str, Callable[[], object]] = {
        "list": lambda: listed(run, folder),
        "open": run.check_free,
        "read config": lambda: own_config(run, lambda path: False, "Give them.") and "read",
        "compare": lambda: orders.compare_job(theirs, folder / "loras" / "dog", places).kind,
        "crash": lambda: crash_event(1, run.log).code,
        "append": lambda: append_lines(run.events, "{}\n"),
        "resume": lambda: resumed(run, folder, plot),
        "list again": lambda: listed(run, folder),
        "discard": lambda: run.discard(),
    }
    found: Counter[str] = Counter()
    for name, action in actions.items():
        found[f"{name}: {attempt(action)}"] += 1
    run.lock.release()
    for path, content in zip(watched, before, strict=True):
        if snapshot(path) != content:
            raise Fault(f"{path} has changed")
    return found
