"""A run's folder, which holds everything about one training."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ..environment.environment import PACK
from ..errors import ConfigError
from ..files import own, signature
from ..files.atomic import check_writable, remove_leftovers, write_atomic
from ..files.lock import Lock

__all__ = ["CONFIG", "INPUTS", "Run"]

CONFIG, INPUTS, NUMBER = "config.json", "inputs.json", "number"
NUMBER_BYTES = 20
SECRET = PACK / ".secret"  # signs the configs that were written here
UNFINISHED = re.compile(r"step_\d{6,}\.partial")  # a checkpoint that was being written


@dataclass(frozen=True)
class Run:
    """A run's folder, which holds everything about one training."""

    folder: Path

    @property
    def config(self) -> Path:
        """The complete config, as JSON."""
        return self.folder / CONFIG

    @property
    def events(self) -> Path:
        """Everything the run reported, one event per line."""
        return self.folder / "events.jsonl"

    @property
    def checkpoints(self) -> Path:
        """The folder of the states from which the run can be resumed."""
        return self.folder / "checkpoints"

    @property
    def samples(self) -> Path:
        """The folder of the images sampled during training."""
        return self.folder / "samples"

    @property
    def loss_plot(self) -> Path:
        """The plot of the loss."""
        return self.folder / "loss.png"

    @property
    def report(self) -> Path:
        """The web page about the run."""
        return self.folder / "report.html"

    @property
    def log(self) -> Path:
        """What the worker printed."""
        return self.folder / "worker.log"

    @property
    def cache(self) -> Path:
        """The folder that runs share, next to them: latents, embeddings and class images."""
        return self.folder.parent / "cache"

    @property
    def inputs(self) -> Path:
        """The file of what a host started the run from."""
        return self.folder / INPUTS

    @property
    def signature(self) -> Path:
        """The file that shows whether the config was written by this installation."""
        return self.folder / "signature"

    @cached_property
    def lock(self) -> Lock:
        """The lock held by the one process that trains here."""
        return Lock(self.folder / "lock")

    @property
    def number(self) -> int:
        """Its place in the order in which the runs of a folder were created; 0: unknown.

        File times do not show that: they change when a folder is copied or restored.
        """
        file = self.folder / NUMBER
        if not own.is_own_file(file):
            return 0
        try:
            with own.open_own(file) as stream:
                return max(0, int(stream.read(NUMBER_BYTES)))
        except (OSError, ValueError):  # damaged, so unknown
            return 0

    @property
    def is_ours(self) -> bool:
        """Whether this installation wrote the config as it is."""
        return signature.is_signed(self.config, self.signature, SECRET)

    def check(self) -> None:
        """Refuse a run that contains what the trainer never makes, such as a link.

        Raises:
            ConfigError: names the entry.
        """
        for file in (self.events, self.log, self.lock.path):
            own.check_file(file, to_change=True)
        files = (self.config, self.inputs, self.loss_plot, self.report, self.signature)
        for file in (*files, self.folder / NUMBER):
            own.check_file(file)
        for folder in (self.checkpoints, self.samples):
            own.check_folder(folder)
        own.check_tree(self.folder)

    def take_number(self) -> None:
        """Give a new run the number after the highest in its folder; a run keeps its number."""
        if not self.number:
            numbers = [Run(file.parent).number for file in self.folder.parent.glob(f"*/{NUMBER}")]
            write_atomic(self.folder / NUMBER, f"{max(numbers, default=0) + 1}\n")

    def create(self, config: str) -> None:
        """Create the folder and write the config's JSON text."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.take_number()
        write_atomic(self.config, config)
        signature.sign(self.config, self.signature, SECRET)

    def check_free(self) -> None:
        """Refuse a run that another process is training, before anything in it is changed.

        Raises:
            ConfigError: another process is training it, the folder cannot be written to, or it
                contains links.
        """
        check_writable(self.folder, "run folder")
        self.check()
        lock = Lock(self.lock.path)
        if lock.path.exists() and not lock.take():
            raise self.busy()
        lock.release()

    def claim(self, output: Path) -> None:
        """Lock the run for this process, and remove what a killed one left half-written.

        Args:
            output: the folder of the result.

        Raises:
            ConfigError: another process is training it, or there are links in it or in the cache.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self.check()
        own.check_below(self.folder.parent, self.cache)
        own.check_tree(self.cache)
        if not self.lock.take():
            raise self.busy()
        for partial in self.checkpoints.glob("*.partial"):
            if UNFINISHED.fullmatch(partial.name):
                with suppress(OSError):  # on Windows a scanner may hold a file
                    own.remove(self.folder, partial)
        caches = [self.cache / "latents", *(self.cache / "class_images").glob("*")]
        remove_leftovers(self.lock, [self.folder, self.samples, *caches, output])

    def is_free(self) -> bool:
        """Lock the run; return False if another process trains it or it contains links."""
        try:
            self.check()
            return self.lock.take()
        except ConfigError:
            return False

    def busy(self) -> ConfigError:
        """Return the error for a run that another process is training."""
        return ConfigError(
            f"The run {self.folder} is being trained by another process.",
            "Wait until it ends, stop it, or start a new run in another folder.",
        )

    def discard(self) -> None:
        """Remove a run that was refused before it began, unless another process is training it."""
        if not self.folder.exists() or not self.is_free():
            return
        numbered = self.folder / NUMBER
        for file in (self.config, self.signature, self.inputs, numbered, self.events, self.log):
            with suppress(OSError):  # on Windows, the worker still has its log open
                file.unlink()
        self.lock.release()
        self.lock.path.unlink(missing_ok=True)
        with suppress(OSError):  # a folder with other files stays
            self.folder.rmdir()
            self.folder.parent.rmdir()
