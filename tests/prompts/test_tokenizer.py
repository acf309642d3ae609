"""The tokenizer against transformers' CLIPTokenizer, built from the same merges."""

from __future__ import annotations

import random
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from trainer.errors import ConfigError
from trainer.prompts import tokenizer

Encoder = Callable[[str], list[int]]

HARD_TEXTS = [
    "",
    " ",
    "a photo of sks dog",
    "  A  Photo\tof\r\nSKS\x0bdog\x0c ",
    "Café crème brûlée, naïve façade",
    unicodedata.normalize("NFD", "Café crème brûlée, naïve façade Ångström"),
    "e\u0301\u0323 a\u0300\u0316b \u0301alone q\u0307\u0323",
    "\u1112\u1161\u11ab 한국어 각 \uac01",
    "一二三 中文字符,日本語のテキスト。カタカナ ガ か\u3099",
    "👩‍👩‍👧‍👦 👍🏽 🏳️‍🌈 🇩🇪 ❤️ ☃ 🧑🏿‍🚀",
    "สวัสดีครับ ที่นี่ กำ ภาษาไทย",
    "नमस्ते दुनिया क्षि ১২৩ தமிழ்",
    "مرحبا بالعالم ١٢٣ ۴۵۶ שלום עוֹלָם",
    "Straße STRASSE ẞ ß ſ ﬁ ﬀ İstanbul ISTANBUL ıI",
    "ΟΔΥΣΣΕΥΣ Σ ΣΑΣ ς σ Ὀδυσσεύς ΌΧΙ",
    "Ⅳ Ⅻ ↀ ½ ¼ ² ³ ₁ ① ⑳ ㊿ 🄀 ൰ ፩ ༳ 〇 〡",
    "ＦＵＬＬ ｗｉｄｔｈ １２３ ！？（ａ：１．２）",
    "𝐁𝐨𝐥𝐝 𝔉𝔯𝔞𝔨 𝟙𝟚𝟛 Ａ ª º µ Å K Ω",
    "it's I'm you're we've he'll she'd don't 'tis 's 't 're 've 'm 'll 'd",
    "IT'S I'M YOU'RE WE'VE HE'LL SHE'D DON'T",
    "it’s I’m you’re ‘quoted’ “double” ʼs `s ´s ′s",
    "!'s ''s '''ll 's's'd'm'xs '' ' s 'S'T'RE",
    "snake_case __init__ _a_ a_1_b",
    "<|startoftext|>a photo<|endoftext|>",
    "a<|endoftext|>b <|startoftext|> c<|endoftext|><|endoftext|>",
    "<|STARTOFTEXT|>! <|startoftext |> <|start|> <||> |> <|endoftext| >",
    "\u0338<|endoftext|>\u0338 <|endoftext|>'s!<|startoftext|>\u0301x",
    "\x00\x01\x02\x1b[0m\x1c\x1d\x1e\x1f\x7f\x80\x85\x9f \xad\ufeff",
    "no\xa0break\u1680a\u2000b\u2003c\u2009d\u200ae\u2028f\u2029g\u202fh\u205fi\u3000j",
    "zero\u200bwidth\u200cnon\u200djoiner\u2060word\u180evowel",
    "\u202eright to left\u202c \u2066isolate\u2069",
    "pneumonoultramicroscopicsilicovolcanoconiosis" * 8,
    "x" * 700 + "!" * 700 + "9" * 300,
    "!!!???... --- ***!!! ((((([[[{{{,,,;;;:::",
    "https://example.com/a/b?c=d&e=%20f#g user@mail.org #tag @me $5.99 50% 1,234.56",
    "&amp; &lt;b&gt; &#39; &quot;x&quot; <br/>",
    "(dog:1.2) ((masterpiece)), [bad], {a|b}, <lora:sks_dog:0.8>, a AND b BREAK c",
    "v1.5 sd_xl 8k 4K 35mm f/1.8 2024-01-01 3d2y1x",
    "\ufffd \ufffe \U0010ffff \ue000 \U000e0041",
    "ﷺ ﷽ ㍿ ℃ № ™ ® © ℝ ∑ ∫ √ → ⇒ █ ░",
    "Привет, мир! ЁЖИК ёжик й и\u0306",
    "Tiếng Việt: đường phở bánh mì ẤẦẨẪẬ",
    "\u0958 \u2126 \u212b \u1fbe \u0340 \u0344 \u2adc \ufb1d",
]
MARKS = [
    *("'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'", "’", "_", "!", "1", " ", "\xa0", "\x85"),
    *("<|startoftext|>", "<|endoftext|>", "<|", "|>", "<|STARTOFTEXT|>", "\u0301", "\u0338"),
    *("Σ", "İ", "ß", "ſ", "\u212a", "\u200d", "\ufe0f", "🏽", "👍", "½", "一", "ก", "ำ"),
]


@pytest.fixture(scope="module")
def reference() -> Encoder:
    """ComfyUI's setting: the start mark is sought after lower-casing, the end mark before."""
    transformers = pytest.importorskip("transformers")
    vocabulary = tokenizer.vocabulary() | {"<|startoftext|>": 49406, "<|endoftext|>": 49407}
    start = transformers.AddedToken("<|startoftext|>", normalized=True)
    clip = transformers.CLIPTokenizer(
        vocab=vocabulary, merges=list(tokenizer.merge_ranks()), bos_token=start
    )
    return lambda text: clip(text, add_special_tokens=False)["input_ids"]


@pytest.fixture(scope="module")
def settled_letters() -> list[str]:
    """Characters of Unicode 3.2, whose classes and compositions every library knows alike."""
    letters = (chr(code) for code in range(sys.maxunicode + 1))
    return [c for c in letters if unicodedata.ucd_3_2_0.category(c) not in ("Cn", "Cs", "Co")]


@pytest.mark.parametrize("text", HARD_TEXTS)
def test_hard_texts_equal_clip_tokenizer(text: str, reference: Encoder) -> None:
    assert tokenizer.encode(text) == reference(text)


def test_every_settled_character_equals_clip_tokenizer(
    reference: Encoder, settled_letters: list[str]
) -> None:
    assert len(settled_letters) > 90_000
    text = " ".join(f"a{c}1{c}!{c}{c}" for c in settled_letters)
    assert tokenizer.encode(text) == reference(text)


def test_random_texts_of_all_planes_equal_clip_tokenizer(
    reference: Encoder, settled_letters: list[str]
) -> None:
    rng = random.Random(20)
    pools = [settled_letters, [chr(code) for code in range(128)], MARKS, MARKS]
    for _ in range(4000):
        text = "".join(rng.choice(rng.choice(pools)) for _ in range(rng.randint(0, 20)))
        assert tokenizer.encode(text) == reference(text), ascii(text)


def test_end_mark_in_capitals_is_cut_like_other_text() -> None:
    assert tokenizer.encode("<|ENDOFTEXT|>") == tokenizer.encode("<| endoftext |>")


def test_known_ids() -> None:
    assert tokenizer.encode("a photo of sks dog") == [320, 1125, 539, 48136, 1929]
    assert len(tokenizer.vocabulary()) == tokenizer.START


def test_count_includes_start_and_end() -> None:
    assert tokenizer.token_count("") == 2
    assert tokenizer.token_count("a photo of sks dog") == 7


@pytest.mark.parametrize("pad_id", [tokenizer.END, 0])
def test_short_prompt_is_padded(pad_id: int) -> None:
    ids = tokenizer.prompt_ids("a dog", pad_id)
    assert ids == [49406, 320, 1929, 49407] + [pad_id] * 73


def test_long_prompt_keeps_75_tokens_and_the_end() -> None:
    assert tokenizer.prompt_ids("dog " * 200, 0) == [49406] + [1929] * 75 + [49407]


def test_lone_surrogate_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="an invalid character"):
        tokenizer.encode("a \ud83d dog")


def test_import_reads_no_vocabulary() -> None:
    code = "from trainer.prompts import tokenizer as t; print(t.merge_ranks.cache_info().currsize)"
    root = Path(__file__).parents[2]
    shown = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert shown.stdout.strip() == "0"
