"""Test prompts with a placeholder for the subject, and the trigger prompt of a result."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from ..trainer.config.settings import check_text
from ..trainer.errors import ConfigError

__all__ = ["CONFIG_KEY", "filled_prompts", "trigger_prompt"]

SUBJECT = "{subject}"
PARENTHESES = re.compile(r"[()]")
CONFIG_KEY = "dreambooth_config"
TRIGGERS_KEY, TRIGGER_KEY = "dreambooth_triggers", "modelspec.trigger_phrase"


def subject_of(trigger: str) -> str:
    """Return the subject of an instance prompt: "sks dog" in "a photo of sks dog"."""
    return trigger.partition(" of ")[2].strip() or trigger.strip()


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
    try:
        prompt = json.loads(metadata[TRIGGERS_KEY])[0]
    except (LookupError, TypeError, ValueError, RecursionError):  # not trained by this pack
        return metadata.get(TRIGGER_KEY, "")
    return PARENTHESES.sub(r"\\\g<0>", prompt) if isinstance(prompt, str) else ""
