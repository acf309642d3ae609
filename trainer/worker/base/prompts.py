"""Prompts encoded by a base's text encoders.

Legend: B prompts, L = 77 tokens, D text width, P pooled width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...model_files.families import Family
from ...prompts.tokenizer import prompt_ids

__all__ = ["PromptEmbeds", "PromptTable", "encode_prompts", "encode_table"]


@dataclass(frozen=True)
class PromptEmbeds:
    """Encoded prompts: `embeds` (B, L, D) and, for SDXL, `pooled` (B, P)."""

    embeds: Tensor
    pooled: Tensor | None

    def __getitem__(self, rows: Sequence[int] | slice | Tensor) -> PromptEmbeds:
        return PromptEmbeds(self.embeds[rows], None if self.pooled is None else self.pooled[rows])

    @classmethod
    def join(cls, rows: Sequence[PromptEmbeds]) -> PromptEmbeds:
        """Return the rows of all, concatenated."""
        pooled = [row.pooled for row in rows if row.pooled is not None]
        return cls(torch.cat([row.embeds for row in rows]), torch.cat(pooled) if pooled else None)

    def to(self, device: torch.device) -> PromptEmbeds:
        """Return a copy on another device."""
        pooled = None if self.pooled is None else self.pooled.to(device)
        return PromptEmbeds(self.embeds.to(device), pooled)


def encode_prompts(
    family: Family, text_encoders: Sequence[nn.Module], prompts: Sequence[str]
) -> PromptEmbeds:
    """Encode prompts as the hosts do: truncated or padded to 77 tokens, without word weights."""
    states: list[Tensor] = []
    pooled: Tensor | None = None
    for kind, encoder in zip(family.text_encoders, text_encoders, strict=True):
        device = next(encoder.parameters()).device
        ids = torch.tensor([prompt_ids(text, kind.pad_id) for text in prompts], device=device)
        skipped = family.skipped_layers
        output = encoder(ids, output_hidden_states=family.penultimate or skipped > 0)
        if family.penultimate:
            states.append(output.hidden_states[-2])  # (B, L, D_i)
            pooled = output.text_embeds if "text_embeds" in output else pooled  # (B, P)
        elif skipped:
            states.append(final_norm(encoder, output.hidden_states[-1 - skipped]))
        else:
            states.append(output.last_hidden_state)
    return PromptEmbeds(torch.cat(states, dim=-1), pooled)


def final_norm(encoder: Any, states: Tensor) -> Tensor:
    """Apply a text encoder's final norm to the states of an earlier layer, as the hosts do."""
    norm = getattr(encoder, "text_model", encoder).final_layer_norm  # by transformers' version
    weights = (norm.weight.float(), norm.bias.float())
    return F.layer_norm(states.float(), norm.normalized_shape, *weights, norm.eps)


class PromptTable:
    """Prompts encoded once by the frozen text encoders, looked up by their text."""

    def __init__(self, embeds: PromptEmbeds, prompts: Sequence[str]) -> None:
        self.embeds = embeds
        self.rows = {prompt: row for row, prompt in enumerate(prompts)}

    def __getitem__(self, prompts: Sequence[str]) -> PromptEmbeds:
        return self.embeds[[self.rows[prompt] for prompt in prompts]]


@torch.no_grad()
def encode_table(
    family: Family,
    text_encoders: Sequence[nn.Module],
    prompts: Iterable[str],
    check: Callable[[], None] = lambda: None,
) -> PromptTable:
    """Encode every distinct prompt with the frozen text encoders; the table is on the CPU.

    Args:
        check: called before each prompt; raises Stop.
    """
    unique = list(dict.fromkeys(prompts))
    rows: list[PromptEmbeds] = []
    for prompt in unique:
        check()
        rows.append(encode_prompts(family, text_encoders, [prompt]))
    embeds = torch.cat([row.embeds for row in rows]).cpu()
    pooled = [row.pooled for row in rows if row.pooled is not None]
    return PromptTable(PromptEmbeds(embeds, torch.cat(pooled).cpu() if pooled else None), unique)
