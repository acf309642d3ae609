"""All settings by group, as the page docs/settings.md: `python -m trainer.config.page`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from .config import GROUPS
from .presets import PRESETS
from .settings import Setting, describe, settings_of

__all__ = ["settings_page"]

HEAD = """# Settings

Written by `python -m trainer.config.page`; do not edit. The same names are flags in a terminal
(`--max-train-steps 800`), fields in ComfyUI and on the tab, and keys in a config file. Settings in
**bold** are enough for most trainings; the others are under "advanced".
"""


def settings_page() -> str:
    """Return the page as Markdown: a table for each group, then the presets."""
    parts = [HEAD]
    for name, group in GROUPS.items():
        parts.append(f"\n## {name}\n\n{(group.__doc__ or '').splitlines()[0]}\n\n")
        parts.append("| setting | default | values | |\n|---|---|---|---|\n")
        parts += map(row, settings_of(group))
    parts.append("\n## Presets\n\n`--preset NAME`; flags that you give with it win.\n\n")
    parts.append("| preset | | settings |\n|---|---|---|\n")
    parts += preset_rows()
    return "".join(parts)


def row(spec: Setting) -> str:
    name = f"`{spec.name}`" if spec.advanced else f"**`{spec.name}`**"
    default = "required" if spec.required else f"`{shown(spec, spec.default)}`"
    return f"| {name} | {default} | {cell(describe(spec))} | {cell(spec.help)} |\n"


def preset_rows() -> Iterator[str]:
    for name, preset in PRESETS.items():
        values = ", ".join(f"{key}={value}" for key, value in preset.values.items())
        changed = f"`{values}`" if values else "the defaults"
        yield f"| `{name}` | {cell(preset.help)} | {changed} |\n"


def shown(spec: Setting, value: Any) -> str:
    """Return a default as a reader would write it."""
    if value is None or value == ():
        return spec.none
    return str(value).lower() if spec.type is bool else str(value) or '""'


def cell(text: str) -> str:
    """Return a text that stays within its cell of a Markdown table."""
    return text.replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8", newline="\n")  # pyright: ignore
    print(settings_page(), end="")
