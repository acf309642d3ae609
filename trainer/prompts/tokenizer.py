"""CLIP's tokenizer: a prompt to the token ids that the text encoders of all hosts read.

Equals transformers' `CLIPTokenizer` as ComfyUI and SD 1.x load it: Unicode NFC, lower case letter
by letter, words split into letters, single digits and the rest, then byte-pair merges. Two things
differ. Letters and numbers are those of this Python's `unicodedata`, so newer characters may be
split differently; and `<|endoftext|>` typed with capitals is split like other text.
"""

from __future__ import annotations

import gzip
import re
import unicodedata
from collections.abc import Iterable
from functools import cache, lru_cache
from itertools import islice
from pathlib import Path

from ..errors import ConfigError

__all__ = ["END", "MAX_TOKENS", "START", "encode", "prompt_ids", "token_count"]

MAX_TOKENS = 77
START = 49406
END = 49407

NUM_MERGES = 48894
VOCABULARY = Path(__file__).parent / "vocabulary" / "bpe_simple_vocab_16e6.txt.gz"
WORD_END = "</w>"
WORD_SHAPE = re.compile(r"'(?:s|t|re|ve|m|ll|d)|[a-z]+|[0-9]|[^\sa-z0-9]+", re.ASCII)

Pair = tuple[str, str]


def encode(text: str) -> list[int]:
    """Return the token ids of a prompt, without start and end, however many.

    Raises:
        ConfigError: the text contains a lone surrogate.
    """
    return joined(map(encode_part, text.split("<|endoftext|>")), END)


def encode_part(text: str) -> list[int]:
    """Return the token ids of a text without end marks."""
    return joined(map(encode_words, normalize(text).split("<|startoftext|>")), START)


def encode_words(text: str) -> list[int]:
    return [token for word in split_words(text) for token in word_ids(word)]


def joined(parts: Iterable[list[int]], separator: int) -> list[int]:
    """Return the parts in one list, with a separator between them."""
    first, *rest = parts
    return first + [token for part in rest for token in (separator, *part)]


def token_count(text: str) -> int:
    """Return how many of the 77 tokens a prompt needs, start and end included."""
    return len(encode(text)) + 2


def prompt_ids(text: str, pad_id: int | None = None) -> list[int]:
    """Return the 77 ids that a text encoder reads: start, up to 75 of the prompt, end, padding.

    Args:
        pad_id: 0 for SD 2.x and SDXL's second encoder; None: the end token, as for all others.
    """
    ids = [START, *encode(text)[: MAX_TOKENS - 2], END]
    padding = END if pad_id is None else pad_id
    return ids + [padding] * (MAX_TOKENS - len(ids))


def normalize(text: str) -> str:
    """Apply NFC, then lower case letter by letter, without Python's rule for a final sigma."""
    return "".join(map(str.lower, unicodedata.normalize("NFC", text)))


def split_words(text: str) -> list[str]:
    """Split a text into contractions, runs of letters, single digits and runs of the rest."""
    shape = "".join(map(letter_shape, text))
    return [text[slice(*match.span())] for match in WORD_SHAPE.finditer(shape)]


@lru_cache(maxsize=2**16)
def letter_shape(letter: str) -> str:
    """Return an ASCII character of the same class: letter a, number 0, space or punctuation."""
    if letter.isascii():
        return letter
    category = unicodedata.category(letter)
    return {"L": "a", "N": "0", "Z": " "}.get(category[0], " " if letter == "\x85" else "!")


@lru_cache(maxsize=2**16)
def word_ids(word: str) -> tuple[int, ...]:
    """Merge a word's bytes into tokens, the earliest learned merge first."""
    parts = [byte_symbols()[byte] for byte in word_bytes(word)]
    parts[-1] += WORD_END
    while best := best_pair(parts):
        parts = merge_pair(parts, best)
    return tuple(vocabulary()[part] for part in parts)


def word_bytes(word: str) -> bytes:
    try:
        return word.encode()
    except UnicodeEncodeError as error:
        raise ConfigError(
            f"The prompt contains an invalid character in {word!r:.80}.", "Type that word again."
        ) from error


def best_pair(parts: list[str]) -> Pair | None:
    """Return the neighbors that were merged earliest when the vocabulary was learned."""
    known = [pair for pair in zip(parts, parts[1:], strict=False) if pair in merge_ranks()]
    return min(known, key=merge_ranks().__getitem__, default=None)


def merge_pair(parts: list[str], pair: Pair) -> list[str]:
    """Join every occurrence of a pair, left to right."""
    merged: list[str] = []
    for part in parts:
        if merged and (merged[-1], part) == pair:
            merged[-1] += part
        else:
            merged.append(part)
    return merged


@cache
def byte_symbols() -> dict[int, str]:
    """Return a printable character for every byte, in the vocabulary's order."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in printable]
    symbols = {byte: chr(byte) for byte in printable}
    return symbols | {byte: chr(256 + place) for place, byte in enumerate(hidden)}


@cache
def merge_ranks() -> dict[Pair, int]:
    """Return the learned merges, each with its rank."""
    with gzip.open(VOCABULARY, "rt", encoding="utf-8") as lines:
        merges = [line.split() for line in islice(lines, 1, NUM_MERGES + 1)]
    return {(first, second): rank for rank, (first, second) in enumerate(merges)}


@cache
def vocabulary() -> dict[str, int]:
    """Return every token's id: bytes, bytes that end a word, merges."""
    symbols = list(byte_symbols().values())
    tokens = symbols + [symbol + WORD_END for symbol in symbols]
    tokens += [first + second for first, second in merge_ranks()]
    return {token: place for place, token in enumerate(tokens)}
