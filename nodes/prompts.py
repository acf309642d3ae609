"""Prompts: those of a test, one a line with a place for the subject, and a LoRA's own."""

from __future__ import annotations

import json
from collections.abc import Mapping

from ..trainer.config.settings import check_text
from ..trainer.errors import ConfigError

SUBJECT = "{subject}"
CONFIG_KEY, TRIGGER_KEY = "dreambooth_config", "modelspec.trigger_phrase"


def subject_of(trigger: str) -> str:
    """The subject in an instance prompt: "sks dog" in "a photo of sks dog"."""
    return trigger.partition(" of ")[2].strip() or trigger.strip()


def filled_prompts(text: str, trigger: str) -> list[str]:
    """One prompt a line, with the subject put in.

    Raises:
        ConfigError: there is no prompt, a text that is none, or a subject is wanted and none is
            known.
    """
    check_text("prompts", text)
    check_text("trigger", trigger)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise ConfigError("prompts is empty.", f'Write one a line, as in "{SUBJECT} on a beach".')
    if SUBJECT in text and not trigger.strip():
        raise ConfigError(
            f"prompts contain {SUBJECT}, but there is no trigger.",
            "Connect the trigger prompt of DreamBooth Train or LoRA Loader (DreamBooth).",
        )
    return [line.replace(SUBJECT, subject_of(trigger)) for line in lines]


def trigger_prompt(metadata: Mapping[str, str]) -> str:
    """The prompt that calls a LoRA's subject, as far as its file says."""
    try:
        prompt = json.loads(metadata[CONFIG_KEY])["instance"]["instance_prompt"]
    except (LookupError, TypeError, ValueError, RecursionError):  # none of ours
        prompt = metadata.get(TRIGGER_KEY, "")
    return prompt if isinstance(prompt, str) else ""
