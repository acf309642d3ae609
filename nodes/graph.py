"""Traces the wires of a queued graph back to model files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..trainer.errors import ConfigError
from ..trainer.files.fingerprint import settings_key

__all__ = ["Prompt", "link_of", "straight_wires", "wires_key"]

Prompt = Mapping[str, Mapping[str, Any]]  # node id -> {"class_type": ..., "inputs": {...}}
FileStamp = Callable[[str], Any]
MODEL, CLIP, VAE = 0, 1, 2  # output slots of checkpoint loaders


@dataclass(frozen=True)
class Link:
    """An output of another node."""

    node: str
    slot: int


@dataclass(frozen=True)
class StraightWires:
    """Files that reach a node unpatched, by the names in their loaders.

    Args:
        vae: (model folder, name) of a VAE file that replaces the checkpoint's own.
    """

    checkpoint: str
    vae: tuple[str, str] | None


def as_link(value: Any) -> Link | None:
    """Return an input's value as a link; None for constants, such as lists of file names."""
    if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str):
        slot = value[1]
        if isinstance(slot, int) and not isinstance(slot, bool):
            return Link(value[0], slot)
    return None


def link_of(prompt: Prompt, node: str, name: str) -> Link | None:
    """Return the link to one of a node's inputs; None for a constant.

    Raises:
        ConfigError: the node is not in the queued graph, as a copy made by a loop.
    """
    if node not in prompt:
        raise ConfigError(
            f"Node {node} was created by a loop or another node that rewrites the graph.",
            "Move the DreamBooth nodes out of it.",
        )
    return as_link(prompt[node]["inputs"].get(name))


def straight_wires(prompt: Prompt, node: str) -> StraightWires | None:
    """Return the files behind a node's model, clip and vae inputs; None if any is patched."""
    links = [link_of(prompt, node, name) for name in ("model", "clip", "vae")]
    if None in links:
        return None
    model, clip, vae = links
    clip = before_last_layer(prompt, clip)
    checkpoint = checkpoint_name(prompt, model, MODEL)
    if checkpoint is None or checkpoint_name(prompt, clip, CLIP) != checkpoint:
        return None
    vae_checkpoint = checkpoint_name(prompt, vae, VAE)
    if vae_checkpoint == checkpoint:
        return StraightWires(checkpoint, None)
    if vae_checkpoint is not None:
        return StraightWires(checkpoint, ("checkpoints", vae_checkpoint))
    vae_name = only_input(prompt, vae, "vae_name")
    return None if vae_name is None else StraightWires(checkpoint, ("vae", vae_name))


def checkpoint_name(prompt: Prompt, link: Link | None, slot: int) -> str | None:
    """Return the checkpoint of a loader whose only input is its file name."""
    if link is None or link.slot != slot:
        return None
    return only_input(prompt, link, "ckpt_name")


def only_input(prompt: Prompt, link: Link | None, name: str) -> str | None:
    """Return the text of a node's input, if it is the only one."""
    if link is None or link.node not in prompt:
        return None
    inputs = prompt[link.node]["inputs"]
    value = inputs.get(name)
    return value if set(inputs) == {name} and isinstance(value, str) else None


def before_last_layer(prompt: Prompt, link: Link | None) -> Link | None:
    """Skip nodes that choose the text encoder's last layer: they change no weights."""
    while link is not None and prompt[link.node]["class_type"] == "CLIPSetLastLayer":
        link = link_of(prompt, link.node, "clip")
    return link


def wires_key(prompt: Prompt, node: str, names: tuple[str, ...], file_stamp: FileStamp) -> str:
    """Return a key for everything upstream of some inputs, independent of node ids.

    Args:
        file_stamp: returns size and time of the file that a constant names; None if it names none.
    """
    keys: dict[str, str] = {}

    def value_key(value: Any) -> Any:
        link = as_link(value)
        if link is not None:
            return {"from": node_key(link.node), "slot": link.slot}
        texts = value if isinstance(value, list) else [value]
        stamps = [file_stamp(text) for text in texts if isinstance(text, str) and text]
        return {"value": value, "files": stamps}

    def node_key(name: str) -> str:
        if name not in keys:
            inputs = {key: value_key(value) for key, value in prompt[name]["inputs"].items()}
            keys[name] = settings_key({"class": prompt[name]["class_type"], "inputs": inputs})
        return keys[name]

    return settings_key({name: value_key(prompt[node]["inputs"].get(name)) for name in names})
