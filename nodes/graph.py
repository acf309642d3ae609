"""What the wires of a queued graph lead to, read from the graph itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..trainer.errors import ConfigError
from ..trainer.files.fingerprint import settings_key

Prompt = Mapping[str, Mapping[str, Any]]  # node id -> {"class_type": ..., "inputs": {...}}
FileStamp = Callable[[str], Any]
MODEL, CLIP, VAE = 0, 1, 2  # output slots of every checkpoint loader


@dataclass(frozen=True)
class Link:
    """An output of another node."""

    node: str
    slot: int


@dataclass(frozen=True)
class StraightWires:
    """Files, as their loaders name them, that the wires carry unchanged.

    Args:
        vae: (model folder, name) of the VAE's file if it is not the checkpoint's own.
    """

    checkpoint: str
    vae: tuple[str, str] | None


def as_link(value: Any) -> Link | None:
    """Read an input's value as a link; constants, lists of file names too, are none."""
    if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str):
        slot = value[1]
        if isinstance(slot, int) and not isinstance(slot, bool):
            return Link(value[0], slot)
    return None


def link_of(prompt: Prompt, node: str, name: str) -> Link | None:
    """Where one of a node's inputs comes from.

    Raises:
        ConfigError: the node is a copy that a loop made, which is not part of the graph.
    """
    if node not in prompt:
        raise ConfigError(
            f"Node {node} was made by a loop or another node that rewrites the graph.",
            "Take the DreamBooth nodes out of it.",
        )
    return as_link(prompt[node]["inputs"].get(name))


def straight_wires(prompt: Prompt, node: str) -> StraightWires | None:
    """The files behind a node's model, clip and vae; None if anything lies between."""
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
    """The file of a loader that nothing but its file name shapes."""
    if link is None or link.slot != slot:
        return None
    return only_input(prompt, link, "ckpt_name")


def only_input(prompt: Prompt, link: Link | None, name: str) -> str | None:
    """The text of a node's one and only input."""
    if link is None or link.node not in prompt:
        return None
    inputs = prompt[link.node]["inputs"]
    value = inputs.get(name)
    return value if set(inputs) == {name} and isinstance(value, str) else None


def before_last_layer(prompt: Prompt, link: Link | None) -> Link | None:
    """Pass by nodes that choose the text encoder's last layer: they change no weight."""
    while link is not None and prompt[link.node]["class_type"] == "CLIPSetLastLayer":
        link = link_of(prompt, link.node, "clip")
    return link


def wires_key(prompt: Prompt, node: str, names: tuple[str, ...], file_stamp: FileStamp) -> str:
    """One text for everything upstream of some inputs, whatever the nodes' ids are.

    Args:
        file_stamp: size and time of the file that a constant names, None if it names none.
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
