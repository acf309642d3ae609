"""The list of all nodes, as ComfyUI loads it."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from . import class_images, lora, photos, sample, train


class DreamBooth(ComfyExtension):
    """Everything that the pack adds to ComfyUI."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        families = (photos, class_images, train, lora, sample)
        return [node for family in families for node in family.NODES]
