"""The prompts of a test: one a line, with a place for the subject."""

from __future__ import annotations

from ..trainer.errors import ConfigError

SUBJECT = "{subject}"


def subject_of(trigger: str) -> str:
    """The subject in an instance prompt: "sks dog" in "a photo of sks dog"."""
    return trigger.partition(" of ")[2].strip() or trigger.strip()


def filled_prompts(text: str, trigger: str) -> list[str]:
    """One prompt a line, with the subject put in.

    Raises:
        ConfigError: there is no prompt, or a subject is wanted and none is known.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise ConfigError("prompts is empty.", f'Write one a line, as in "{SUBJECT} on a beach".')
    if SUBJECT in text and not trigger.strip():
        raise ConfigError(
            f"prompts contain {SUBJECT}, but there is no trigger.",
            "Connect the trigger prompt of DreamBooth Train or LoRA Loader (DreamBooth).",
        )
    return [line.replace(SUBJECT, subject_of(trigger)) for line in lines]
