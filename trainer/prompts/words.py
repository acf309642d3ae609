"""Words of prompts: those that name a subject, and what hosts would read as syntax."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher
from functools import reduce

from .tokenizer import MAX_TOKENS, encode

__all__ = [
    "RARE_FROM", "escaped", "host_syntax", "naming_words", "rare_words", "tags_of",
    "trigger_phrase", "words_of",
]  # fmt: skip

WORD = re.compile(r"\w+(?:['’-]\w+)*")
# Words that name no subject. A class prompt may lack them, and a trigger does not begin with them.
PLAIN = {
    "a", "an", "and", "at", "by", "closeup", "for", "from", "image", "in", "is", "its", "of", "on",
    "one", "painting", "photo", "photograph", "picture", "portrait", "rendering", "shot", "style",
    "the", "this", "to", "with",
}  # fmt: skip
RARE_FROM = 40_000  # a token's id is its rank by frequency
# What A1111, Forge or ComfyUI do not read as plain text, as in their documentation.
SYNTAX = re.compile(
    r"""<\w+:[^>]+>             # extra networks: <lora:x:1>
    |\\[()\[\]]                 # escaped brackets
    |\((?:[^()\\]|\\.)*\)       # emphasis: (word), (word:1.2)
    |\[(?:[^\[\]\\]|\\.)*\]     # weaker, alternating, scheduled: [a], [a|b], [a:b:0.5]
    |\b(?:BREAK|AND)\b          # chunks, and prompts of their own
    |\{[^{}]*\|[^{}]*\}         # a random choice: {a|b}
    |\bembedding:\S+
    |__\w+__                    # wildcards""",
    re.VERBOSE,
)
BRACKETS = re.compile(r"[\\()\[\]]")


def words_of(text: str) -> list[str]:
    """Return the words of a prompt in lower case, as text encoders read them."""
    return [word.lower() for word in WORD.findall(text)]


def host_syntax(text: str) -> list[str]:
    """Return the parts of a prompt that hosts would not read as plain text, each once."""
    return list(dict.fromkeys(found.group() for found in SYNTAX.finditer(text)))


def escaped(text: str) -> tuple[str, list[str]]:
    """Return a prompt that A1111 and Forge read as plain text, and what had to be left out."""
    unfit = re.compile(r"<\w+:[^>]+>|\b(?:BREAK|AND)\b")
    left_out = list(dict.fromkeys(unfit.findall(text)))
    plain = " ".join(unfit.sub(" ", text).split()) if left_out else text
    return BRACKETS.sub(lambda found: "\\" + found.group(), plain), left_out


def rare_words(prompt: str) -> list[str]:
    """Return the words that look like identifiers: one rare token of three or four letters."""
    return [word for word in dict.fromkeys(words_of(prompt)) if is_rare(word)]


def is_rare(word: str) -> bool:
    ids = encode(word)
    return len(ids) == 1 and ids[0] >= RARE_FROM and len(word) in (3, 4)


def naming_words(instance_prompt: str, class_prompt: str) -> list[str]:
    """Return the words that tell the subject from its class; without a class prompt, rare ones."""
    if not class_prompt.strip():
        return rare_words(instance_prompt)
    common = PLAIN.union(words_of(class_prompt))
    return [word for word in dict.fromkeys(words_of(instance_prompt)) if word not in common]


def trigger_phrase(instance_prompt: str, captions: Sequence[str]) -> str:
    """Return the words that show the subject after a training on these captions.

    The instance prompt, if a photo was trained with it; else the longest run of words that all
    captions share, and nothing if there is none. Words that no text encoder reads do not count.
    """
    if instance_prompt in captions or not captions:
        return instance_prompt
    words = (caption.split()[:MAX_TOKENS] for caption in dict.fromkeys(captions))
    return " ".join(reduce(shared_run, words))


def shared_run(one: Sequence[str], other: Sequence[str]) -> list[str]:
    """Return the longest run of words in both texts, without plain words at its ends."""
    bare = [list(map(bare_word, words)) for words in (one, other)]
    match = SequenceMatcher(PLAIN.__contains__, *bare, autojunk=False).find_longest_match()
    return trimmed(one[match.a : match.a + match.size])


def bare_word(word: str) -> str:
    return word.strip(",.;:").lower()


def trimmed(words: Sequence[str]) -> list[str]:
    """Return words without plain ones at their ends, and without punctuation after the last."""
    named = [place for place, word in enumerate(words) if bare_word(word) not in PLAIN]
    if not named:
        return []
    *first, last = words[named[0] : named[-1] + 1]
    return [*first, last.strip(",.;:")]


def tags_of(captions: Iterable[str]) -> Counter[str]:
    """Return how often each tag, a part between commas, is in the captions."""
    parts = (part.strip() for caption in captions for part in caption.split(","))
    return Counter(part for part in parts if part)
