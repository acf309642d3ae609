"""Words that may name a subject: rare tokens, and what a user's own word is to the tokenizer."""

from __future__ import annotations

from ..config.settings import check_text
from ..errors import ConfigError
from .tokenizer import encode, token_count
from .words import RARE_FROM, naming_words, words_of

__all__ = [
    "CANDIDATES",
    "check_noun",
    "check_word",
    "noun_of",
    "own_words",
    "tokens_text",
]

# Tokens of four letters from 40000 on, the rarest first, for all text encoders: those of SDXL
# share one vocabulary. None is in the word lists of wordfreq 3.1.1 (40 languages, with the names
# and brands in them) more often than three times in a hundred million words. What people use
# anyway was then left out by hand: clubs, hashtags such as ohwx (Ohio's weather), chat, names.
CANDIDATES = (
    "toid", "rith", "phol", "shma", "sleg", "tson", "tzky", "noff", "crat", "mban", "ffen", "ppel",
    "ffes", "izes", "tzer", "roft", "gden", "raer", "elot", "acki", "ylde", "umen", "olls", "ssin",
    "cius", "itez", "glar", "erun", "fuls", "styn", "mmon", "mmit", "euve", "mley", "dson", "uous",
)  # fmt: skip
ARTICLES = ("a", "an", "the")
MAX_WORD_TOKENS = 30  # so that it fits a prompt


def check_word(word: str) -> str:
    """Return a user's word as text encoders read it.

    Raises:
        ConfigError: it is not one word.
    """
    check_text("word", word)
    plain = word.strip().lower()
    if words_of(word) != [plain] or token_count(plain) > MAX_WORD_TOKENS:
        raise ConfigError(f"{word!r:.99} is not one word.", "Give the rare word alone, as in sks.")
    return plain


def check_noun(noun: str) -> str:
    """Return a class noun, such as dog or coffee mug.

    Raises:
        ConfigError: it is empty or too long.
    """
    check_text("class_noun", noun)
    if not words_of(noun) or token_count(noun) > MAX_WORD_TOKENS:
        raise ConfigError(f"class_noun is {noun!r:.99}.", "Name the class, such as dog.")
    return noun.strip()


def noun_of(class_prompt: str) -> str:
    """Return the class noun of a prompt: "dog" of "a photo of a dog".

    Raises:
        ConfigError: the prompt is empty.
    """
    words = class_prompt.rpartition(" of ")[2].split()
    noun = words[1:] if words and words[0].lower() in ARTICLES else words
    if not noun:
        raise ConfigError("class_prompt is empty.", 'Name the class, as in "a photo of a dog".')
    return check_noun(" ".join(noun))


def own_words(instance_prompt: str, class_prompt: str) -> list[str]:
    """Return the words of an instance prompt that tell its subject from the class."""
    found = naming_words(instance_prompt, class_prompt)
    return [word for word in found if token_count(word) <= MAX_WORD_TOKENS]


def tokens_text(word: str) -> str:
    """Return what a word is to the text encoders' tokenizer."""
    first, *more = encode(word)
    if more:
        return f"splits into {len(more) + 1} tokens"
    return "one common token" if first < RARE_FROM else "one rare token"
