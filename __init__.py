"""ComfyUI's entry to the pack; imports nothing of the host, so that pytest may import it too."""

from __future__ import annotations

from typing import Any

WEB_DIRECTORY = "web"


async def comfy_entrypoint() -> Any:
    """What ComfyUI asks for the nodes."""
    from .nodes.extension import DreamBooth

    return DreamBooth()
