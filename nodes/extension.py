"""The pack as a ComfyUI extension."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from . import class_images, identifiers, lora, photos, sample, train

__all__ = ["DreamBooth"]


class DreamBooth(ComfyExtension):
    """The ComfyUI extension."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """Return all nodes of the pack."""
        families = (identifiers, photos, class_images, train, lora, sample)
        return [node for family in families for node in family.NODES]
