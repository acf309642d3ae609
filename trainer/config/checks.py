"""Settings that have no effect, or no sense, beside others: each is refused with the reason."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..errors import ConfigError
from .concept import ConceptConfig
from .model import ModelConfig
from .optimization import TrainingConfig
from .trained import TrainedConfig

__all__ = ["OF_TEXT", "check_together"]

OF_TEXT = (  # settings of the text encoders' training
    "text_encoder_learning_rate",
    "text_encoder_2_learning_rate",
    "text_encoder_train_steps",
)
NOT_TRAINED = "the text encoders are not trained"


def check_together(
    model: ModelConfig,
    trained: TrainedConfig,
    training: TrainingConfig,
    concepts: Sequence[ConceptConfig],
) -> None:
    """Raise ConfigError for a setting that the others leave without effect."""
    for name, value, reason, hint in without_effect(trained, training):
        if value is not None:
            raise ConfigError(f"{name} is {value}, but {reason}.", hint)
    priors = [concept.prior for concept in concepts]
    sampler = next((p.class_sampler for p in priors if p.class_sampler != "dpmpp_2m"), None)
    if sampler is not None and not any(prior.enabled for prior in priors):
        raise ConfigError(
            f"class_sampler is {sampler}, but there are no class images.",
            'Set class_prompt to the class without the rare word, such as "a photo of a dog".',
        )
    if trained.is_full and any(p.enabled and p.prior_target == "prediction" for p in priors):
        raise ConfigError(
            "prior_target is prediction, but a full fine-tune keeps no copy of the base.",
            "Set prior_target to noise, or method to lora.",
        )
    if trained.is_full and model.base_precision != "auto":
        raise ConfigError(
            f"base_precision is {model.base_precision}, but in a full fine-tune the base is not "
            "frozen.",
            "Set base_precision to auto, or method to lora.",
        )


def without_effect(
    trained: TrainedConfig, training: TrainingConfig
) -> Iterator[tuple[str, object, str, str]]:
    """Yield the name, value, reason and remedy of each setting without effect, set or not."""
    if trained.is_full:
        yield "alpha", trained.alpha, "a full fine-tune has no LoRA", "Remove alpha."
    if not trained.train_text_encoder:
        remedy = "Set train_text_encoder, or remove {}."
        for name in OF_TEXT:
            yield name, getattr(training, name), NOT_TRAINED, remedy.format(name)
    for name, schedule in (("lr_num_cycles", "cosine_with_restarts"), ("lr_power", "polynomial")):
        if training.lr_scheduler != schedule:
            reason = f"lr_scheduler is {training.lr_scheduler}"
            yield name, getattr(training, name), reason, f"Set lr_scheduler to {schedule}."
