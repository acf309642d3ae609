"""Lists of prompts for trying out what was learned, with a placeholder for the subject."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

__all__ = [
    "PROMPT_LISTS",
    "SUBJECT",
    "TRIGGERS_KEY",
    "filled",
    "subject_of",
    "trained_prompt",
]

SUBJECT = "{subject}"
TRIGGERS_KEY = "dreambooth_triggers"  # in a result's metadata: a list, one prompt a subject
PROMPT_LISTS: Mapping[str, tuple[str, ...]] = {
    "recontextualisation": (
        "a photo of {subject} on a beach",
        "a photo of {subject} in a forest in autumn",
        "a photo of {subject} in deep snow",
        "a photo of {subject} on a street at night",
        "a photo of {subject} in a kitchen",
        "a photo of {subject} on a meadow with mountains behind it",
        "a photo of {subject} on a wooden floor by a window",
        "a photo of {subject} under water",
    ),
    "art": (
        "an oil painting of {subject}",
        "a watercolor painting of {subject}",
        "a pencil drawing of {subject}",
        "a woodcut of {subject}",
        "a marble statue of {subject}",
        "a stained glass window of {subject}",
        "a comic panel with {subject}",
        "a low poly 3D rendering of {subject}",
    ),
    "views": (
        "a photo of {subject} seen from the front",
        "a photo of {subject} seen from the side",
        "a photo of {subject} seen from behind",
        "a photo of {subject} seen from above",
        "a photo of {subject} seen from below",
        "a close-up photo of {subject}",
        "a photo of {subject} far away in a wide landscape",
    ),
    "accessories": (
        "a photo of {subject} wearing a red hat",
        "a photo of {subject} wearing sunglasses",
        "a photo of {subject} wearing a knitted scarf",
        "a photo of {subject} in a raincoat",
        "a photo of {subject} in a police uniform",
        "a photo of {subject} dressed as an astronaut",
        "a photo of {subject} wearing a crown",
        "a photo of {subject} carrying a backpack",
    ),
    "properties": (
        "a photo of a red {subject}",
        "a photo of a blue {subject}",
        "a photo of a golden {subject}",
        "a photo of a transparent {subject} made of glass",
        "a photo of {subject} made of wood",
        "a photo of {subject} made of knitted wool",
        "a photo of a tiny {subject} on a hand",
        "a photo of a wet {subject}",
    ),
    "expressions": (
        "a photo of {subject} smiling",
        "a photo of {subject} laughing with closed eyes",
        "a photo of {subject} looking surprised",
        "a photo of {subject} looking angry",
        "a photo of {subject} crying",
        "a photo of {subject} yawning",
        "a photo of {subject} sleeping",
    ),
}


def subject_of(prompt: str) -> str:
    """Return the subject of an instance prompt: "sks dog" in "a photo of sks dog"."""
    return prompt.partition(" of ")[2].strip() or prompt.strip()


def filled(prompts: Iterable[str], instance_prompts: Sequence[str]) -> list[str]:
    """Return prompts with the subject in place of the placeholder; of several, one for each."""
    subjects = list(dict.fromkeys(map(subject_of, instance_prompts)))
    return [
        prompt.replace(SUBJECT, subject)
        for prompt in prompts
        for subject in (subjects if SUBJECT in prompt else [""])
    ]


def trained_prompt(metadata: Mapping[str, str]) -> str | None:
    """Return the prompt that shows a result's first subject; None if its file does not tell."""
    try:
        prompt = json.loads(metadata[TRIGGERS_KEY])[0]
    except (LookupError, TypeError, ValueError, RecursionError):  # not trained by this trainer
        return None
    return prompt if isinstance(prompt, str) else ""
