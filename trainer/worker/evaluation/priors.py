"""How much words mean to a base: its prior, which an identifier should have little of.

"Rare-token identifiers" in DreamBooth (arXiv 2208.12242) asks for a word with a weak prior in both
the language model and the diffusion model, and gives no measure. Here, the prior of a word w is
how far w moves the U-Net's prediction e when it takes the place of "a" in a prompt:

    d(w) = |e(x, t, "a photo of w dog") - e(x, t, "a photo of a dog")|,
    prior(w) = mean over prompts and timesteps of d(w) / median of d over KNOWN words,

with and without the class noun, at two noisy timesteps t, where x is gray with the same noise for
all words. So 0 is a word without effect, and 1 one with the effect of an ordinary word. A word is
weak if its prior is nearer, as a ratio, to that of the rare tokens (their median) than to the
weakest KNOWN word's. It says nothing of what a word means, only how much it changes.

Legend: N prompts, C latent channels, h w latent height and width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, sqrt
from statistics import median

import torch
from torch import Tensor

from ...prompts.identifiers import CANDIDATES, tokens_text
from ...runs.events import Rating, Status
from ..base.models import pixels_per_latent
from ..base.parts import Parts
from ..base.prompts import PromptEmbeds, PromptTable, encode_table
from ..drawing.sampler import precision
from ..randomness import generator

__all__ = ["KNOWN", "Question", "rate_words"]

KNOWN = ("red", "blue", "green", "cat", "car", "house")  # words that every base knows
TIMESTEPS = (900, 700)  # where a prompt decides what an image becomes
PLAIN = "a"
TRIED_PER_PROPOSAL = 3


@dataclass(frozen=True)
class Question:
    """Which words to rate.

    Args:
        class_noun: the subject's class, such as "dog".
        own: the user's words.
        number: of words to propose.
    """

    class_noun: str
    own: Sequence[str]
    number: int

    @property
    def known(self) -> list[str]:
        """The words that the others are compared with: none that names the class."""
        return [word for word in KNOWN if word not in self.class_noun.lower().split()]

    @property
    def rare(self) -> Sequence[str]:
        """The rare tokens that are tried."""
        return CANDIDATES[: max(self.number, 1) * TRIED_PER_PROPOSAL]

    @property
    def words(self) -> list[str]:
        """All words to measure, each once."""
        return list(dict.fromkeys([*self.known, *self.own, *self.rare]))

    def prompts(self, word: str) -> list[str]:
        """Return the prompts that a word is measured in: with the class noun, and alone."""
        return [f"a photo of {word} {self.class_noun}", f"a photo of {word}"]


def rate_words(parts: Parts, question: Question, check_stop: Callable[[], None]) -> list[Rating]:
    """Return the user's words, then the proposals, those with the weakest prior first.

    Args:
        check_stop: called before every word; may raise Stop.
    """
    prior = measure(parts, question, check_stop)
    limit = sqrt(
        median(prior[word] for word in question.rare) * min(prior[word] for word in question.known)
    )

    def rating(word: str, *, own: bool) -> Rating:
        return Rating(word, tokens_text(word), prior[word], prior[word] < limit, own)

    best = sorted(question.rare, key=prior.__getitem__)[: question.number]
    return [
        *(rating(word, own=True) for word in dict.fromkeys(question.own)),
        *(rating(word, own=False) for word in best),
    ]


def measure(
    parts: Parts, question: Question, check_stop: Callable[[], None]
) -> Mapping[str, float]:
    """Return the prior of every word.

    Raises:
        FloatingPointError: the base predicts NaN or infinity.
    """
    words = question.words
    prompts = [prompt for word in (PLAIN, *words) for prompt in question.prompts(word)]
    table = encode_table(parts.base.family, parts.text_encoders, prompts, check_stop)
    parts.release("text encoder")
    probe = Probe.of(parts)
    plain = probe.predictions(table, question.prompts(PLAIN))
    moved: dict[str, Tensor] = {}
    for done, word in enumerate(words):
        check_stop()
        parts.report(Status("rating", done, len(words), "Rating words"))
        difference = probe.predictions(table, question.prompts(word)) - plain
        moved[word] = difference.flatten(2).norm(dim=2)  # (timesteps, N)
    parts.report(Status("rating", len(words), len(words), "Rating words"))
    unit = torch.stack([moved[word] for word in question.known]).quantile(0.5, dim=0)
    prior = {word: float((distance / unit).mean()) for word, distance in moved.items()}
    if not all(map(isfinite, prior.values())):
        raise FloatingPointError("The model predicts NaN or infinite values.")
    return prior


@dataclass(frozen=True)
class Probe:
    """What every word is tried on.

    Args:
        noise: (1, C, h, w), at half the base's own side, for a quarter of the work.
        side: of the image in pixels.
    """

    parts: Parts
    noise: Tensor
    side: int

    @classmethod
    def of(cls, parts: Parts) -> Probe:
        """Return the probe of a base, with the same noise each time."""
        factor = pixels_per_latent(parts.base)
        latent_side = parts.base.resolution // factor // 2
        shape = (1, parts.unet.config.in_channels, latent_side, latent_side)
        noise = torch.randn(shape, generator=generator(0, "identifiers"))
        return cls(parts, noise.to(parts.device), latent_side * factor)

    @torch.no_grad()
    def predictions(self, table: PromptTable, prompts: Sequence[str]) -> Tensor:
        """Return the U-Net's predictions, (timesteps, N, C, h, w)."""
        embeds = table[prompts].to(self.parts.device)
        return torch.stack([self.predict(embeds, timestep) for timestep in TIMESTEPS])

    def predict(self, prompts: PromptEmbeds, timestep: int) -> Tensor:
        parts, count = self.parts, len(prompts.embeds)
        signal = parts.noise_scheduler.alphas_cumprod[timestep]
        noisy = float(1 - signal) ** 0.5 * self.noise.expand(count, -1, -1, -1)
        conditions = None
        if prompts.pooled is not None:
            time_ids = torch.tensor([(self.side, self.side, 0, 0, self.side, self.side)] * count)
            conditions = {"text_embeds": prompts.pooled, "time_ids": time_ids.to(parts.device)}
        with precision(parts.device, parts.dtype):
            output = parts.unet(noisy, timestep, prompts.embeds, added_cond_kwargs=conditions)
        return output.sample.float()
