"""The choice of prompts for trying out."""

from __future__ import annotations

import json
from typing import Any

import gradio as gr

from . import fields
from .form import kept

__all__ = ["fill_in_prompts", "prompt_list"]


def prompt_list() -> Any:
    """Return the choice of prompts for trying out, which fills in the sample prompts."""
    lists = [fields.OWN_PROMPTS, *fields.listed_prompts()]
    return kept(
        gr.Dropdown(
            lists, value=lists[0], label="Fill in sample prompts", elem_id="dreambooth_prompt_list"
        )
    )


def fill_in_prompts() -> str:
    """Return JavaScript that fills in the sample prompts; without a list they stay."""
    return f"(name, own) => ({json.dumps(fields.listed_prompts())})[name] ?? own"
