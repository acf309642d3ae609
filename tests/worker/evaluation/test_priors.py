"""Words that the model knows have a strong prior, rare ones a weak one, at the same noise."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from trainer.config.model import ModelConfig
from trainer.prompts.identifiers import CANDIDATES
from trainer.runs.control import Stop
from trainer.runs.events import Rating, Status
from trainer.worker.base.parts import Parts, open_parts
from trainer.worker.base.prompts import encode_table
from trainer.worker.evaluation.priors import KNOWN, TIMESTEPS, Question, rate_words
from trainer.worker.randomness import generator


def opened(base: object) -> tuple[Parts, list]:
    heard: list = []
    return open_parts(ModelConfig(str(base)), "no", heard.append), heard


def rated(parts: Parts, *own: str, noun: str = "dog", number: int = 1) -> dict[str, Rating]:
    found = rate_words(parts, Question(noun, own, number), lambda: None)
    return {rating.word: rating for rating in found}


def test_the_embedded_models_own_words_are_strong_and_rare_tokens_weak():
    # It has learned the words of its captions only: dog, robot, yellow, but neither obama nor sks.
    found = rated(opened("embedded")[0], "red", "cat", "robot", "yellow", "sks", "obama", number=2)
    strong = {word for word, rating in found.items() if not rating.weak}
    assert strong == {"red", "cat", "robot", "yellow"}
    proposed = [rating for rating in found.values() if not rating.own]
    assert len(proposed) == 2 and all(rating.weak for rating in proposed)
    assert proposed[0].prior <= proposed[1].prior < found["cat"].prior / 1.3
    assert found["red"].tokens == "one common token"


@pytest.mark.parametrize("family", ["sd1", pytest.param("sdxl", marks=pytest.mark.slow)])
def test_a_prior_is_the_mean_of_distances_in_units_of_an_ordinary_words(tiny_checkpoint, family):
    """Computed here one prompt at a time, for a word with and without the class noun."""
    parts, _ = opened(tiny_checkpoint(family))
    found = rated(parts, "red", "sks")
    latent_side = parts.base.resolution // 8 // 2
    noise = torch.randn(1, 4, latent_side, latent_side, generator=generator(0, "identifiers"))

    def distances(words: Sequence[str], form: str, timestep: int) -> list[float]:
        prompts = [form.format(word) for word in ("a", *words)]
        table = encode_table(parts.base.family, parts.text_encoders, prompts)
        noisy = (1 - parts.noise_scheduler.alphas_cumprod[timestep]).sqrt() * noise
        side = latent_side * 8
        outputs = []
        for prompt in prompts:
            row = table[[prompt]]
            more = {"text_embeds": row.pooled}
            more["time_ids"] = torch.tensor([[side, side, 0, 0, side, side]])
            with torch.no_grad():
                output = parts.unet(noisy, timestep, row.embeds, added_cond_kwargs=more)
            outputs.append(output.sample)
        return [float((output - outputs[0]).norm()) for output in outputs[1:]]

    shares = []
    for form in ("a photo of {} dog", "a photo of {}"):
        for timestep in TIMESTEPS:
            *known, sks = distances([*KNOWN, "sks"], form, timestep)
            shares.append(sks / float(torch.tensor(known).quantile(0.5)))
    assert found["sks"].prior == pytest.approx(sum(shares) / len(shares), rel=1e-3)


def test_ratings_repeat_and_do_not_depend_on_the_other_words(tiny_checkpoint):
    base = tiny_checkpoint("sd1")
    one, two = rated(opened(base)[0], "sks"), rated(opened(base)[0], "ohwx", "sks", "sks")
    assert one["sks"].prior == pytest.approx(two["sks"].prior, rel=1e-5)
    assert list(two) == ["ohwx", "sks", *(word for word in one if word != "sks")]


def test_a_word_of_the_class_is_no_measure_and_a_word_of_the_table_may_be_the_users(
    tiny_checkpoint,
):
    assert Question("Cat", (), 1).known == [word for word in KNOWN if word != "cat"]
    parts, _ = opened(tiny_checkpoint("sd1"))
    found = rate_words(parts, Question("cat", CANDIDATES[:3], 1), lambda: None)
    assert [rating.own for rating in found] == [True, True, True, False]


def test_progress_is_told_and_a_stop_comes_between_two_words(tiny_checkpoint):
    parts, heard = opened(tiny_checkpoint("sd1"))
    rated(parts)
    steps = [event for event in heard if isinstance(event, Status) and event.stage == "rating"]
    assert [event.done for event in steps] == list(range(len(KNOWN) + 3 + 1))
    assert {event.total for event in steps} == {len(KNOWN) + 3}

    def stop() -> None:
        raise Stop

    with pytest.raises(Stop):
        rate_words(parts, Question("dog", (), 1), stop)


def test_a_model_that_predicts_nan_is_no_measure(tiny_checkpoint):
    parts, _ = opened(tiny_checkpoint("sd1"))
    with torch.no_grad():
        parts.unet.conv_out.bias.fill_(float("nan"))
    with pytest.raises(FloatingPointError):
        rated(parts)
