"""Test prompts with a placeholder for the subject, and the trigger prompt of a result."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ..trainer.config.settings import check_text
from ..trainer.errors import ConfigError
from ..trainer.prompts.lists import PROMPT_LISTS, SUBJECT, subject_of, trained_prompt
from .fields import check_choice

__all__ = ["CONFIG_KEY", "OWN_PROMPTS", "filled_prompts", "listed_prompts", "trigger_prompt"]

OWN_PROMPTS = "own prompts"  # instead of one of the lists
PARENTHESES = re.compile(r"[()]")
CONFIG_KEY = "dreambooth_config"
TRIGGER_KEY = "modelspec.trigger_phrase"


def listed_prompts(name: str, own: str) -> str:
    """Return the prompts of a list, one per line, or a node's own ones.

    Raises:
        ConfigError: there is no such list.
    """
    check_choice("prompt_list", name, (OWN_PROMPTS, *PROMPT_LISTS))
    return own if name == OWN_PROMPTS else "\n".join(PROMPT_LISTS[name])


def filled_prompts(text: str, trigger: str) -> list[str]:
    """Split a text into prompts, one per line, and fill in the subject.

    Raises:
        ConfigError: there is no prompt, a text is invalid, or the trigger is missing.
    """
    check_text("prompts", text)
    check_text("trigger", trigger)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise ConfigError("prompts is empty.", f'Write one per line, as in "{SUBJECT} on a beach".')
    if SUBJECT in text and not trigger.strip():
        raise ConfigError(
            f"prompts contain {SUBJECT}, but there is no trigger.",
            "Connect the trigger prompt of DreamBooth Train or LoRA Loader (DreamBooth).",
        )
    return [line.replace(SUBJECT, subject_of(trigger)) for line in lines]


def trigger_prompt(metadata: Mapping[str, str]) -> str:
    """Return the trigger prompt from a file's metadata; empty if there is none.

    Of several subjects, that of the first. This pack trains parentheses as text: they are escaped.
    """
    prompt = trained_prompt(metadata)
    if prompt is None:
        return metadata.get(TRIGGER_KEY, "")
    return PARENTHESES.sub(r"\\\g<0>", prompt)
