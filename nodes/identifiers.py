"""The node that proposes identifiers: rare words that mean little to the model."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..trainer.config.settings import Setting, check_text, check_value
from ..trainer.environment.environment import check_ready
from ..trainer.prompts.identifiers import CANDIDATES, check_noun, check_word
from .base import Wires, find_base
from .inputs import setting_input
from .page import Page

__all__ = ["NODES"]

NUMBER = Setting(
    "number", int, 10, "How many to propose.", minimum=1, maximum=len(CANDIDATES)
)  # fmt: skip
WORD_HELP = "Words of your own to rate as well, separated by spaces."


class SuggestIdentifier(io.ComfyNode):
    """Proposes words for a subject, and rates the user's own."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DreamBoothSuggestIdentifier",
            display_name="Suggest Identifier (DreamBooth)",
            category="DreamBooth",
            description="Proposes rare words that can name your subject, those that mean least to "
            "the model first, and rates words of your own.",
            inputs=[
                io.Model.Input("model", tooltip="Base model, the same as for DreamBooth Train."),
                io.Clip.Input("clip", tooltip="Text encoder of the base model."),
                io.Vae.Input("vae", tooltip="VAE of the base model."),
                io.String.Input("class_noun", default="dog", tooltip="What your subject is."),
                io.String.Input("words", default="", tooltip=WORD_HELP),
                setting_input(NUMBER),
            ],
            outputs=[
                io.String.Output(display_name="identifier", tooltip="The best proposal."),
                io.String.Output(display_name="report", tooltip="All words with their ratings."),
            ],
            is_output_node=True,
            hidden=[io.Hidden.unique_id, io.Hidden.prompt],
        )

    @classmethod
    def execute(
        cls, model: Any, clip: Any, vae: Any, class_noun: str, words: str, number: int, **_: Any
    ) -> io.NodeOutput:
        from ..trainer.runs.wording import rating_text  # here, to keep ComfyUI's start fast
        from .rating import rate

        check_text("words", words)
        check_value(NUMBER, number)
        own = [check_word(word) for word in words.split()]
        asked = {"class_noun": check_noun(class_noun), "words": own, "number": number}
        check_ready()
        wires, page = Wires(model, clip, vae), Page(cls.hidden.unique_id)
        base = find_base(wires, cls.hidden.prompt, cls.hidden.unique_id)
        ratings = rate(base, wires, asked, page)
        report = "\n".join(map(rating_text, ratings))
        best = next(rating.word for rating in ratings if not rating.own)
        return io.NodeOutput(best, report, ui={"report": [report]})


NODES = [SuggestIdentifier]
