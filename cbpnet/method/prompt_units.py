"""Continual backpropagation with the G-prompt's tokens as units.

A unit is one prefix token of one layer: its key and its value. What an image's features owe to it
is the attention that it receives times the length of its value,

    c = sum over heads h of a_h |v_h|,

with a_h in [0, 1] the mean over the layer's query tokens of the attention probability in head h,
and |v_h| the 2-norm of that head's part of the value. In the place of ``|h| sum_k |w_out[k]|`` of a
hidden unit it enters the algorithm of `cbpnet.method.cbp`.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from cbpnet.host.errors import InputError
from cbpnet.method.cbp import UnitStatistics, age_units, select_units
from cbpnet.method.config import CBPConfig
from cbpnet.method.initial import initial_prompt
from cbpnet.method.layout import MOMENTS

__all__ = ["AttentionExtractor", "attending", "replace_tokens", "token_contribution"]


@runtime_checkable
class AttentionExtractor(Protocol):
    """What is needed of a backbone here: see `cbpnet.backbone.vit.Backbone.with_attention`."""

    def with_attention(
        self, images: Tensor, prefixes: Mapping[int, Tensor]
    ) -> tuple[Tensor, dict[int, Tensor]]: ...


def attending(backbone: object) -> AttentionExtractor:
    """Return a backbone that gives its attention; raises `InputError` for one that does not."""
    if not isinstance(backbone, AttentionExtractor):
        raise InputError(
            f"a {type(backbone).__name__} does not say what attention prompt tokens receive; "
            "prompts.replacement_rate must be 0 on it"
        )
    return backbone


def token_contribution(attention: Sequence[Tensor], g_prompt: Tensor) -> Tensor:
    """Return the contribution [B, G layers, length] of each image to each token.

    ``attention`` is, a layer, what a head's queries give to a token on average, [B, heads, length];
    ``g_prompt`` is [G layers, 2, length, D].
    """
    received = torch.stack(list(attention), dim=1)
    heads = received.shape[2]
    values = g_prompt[:, 1].unflatten(-1, (heads, -1)).permute(0, 2, 1, 3)
    lengths = values.square().sum(dim=-1).sqrt()  # [G layers, heads, length]
    contribution: Tensor = (received * lengths).sum(dim=2)
    return contribution


def replace_tokens(
    tensors: Mapping[str, Tensor],
    statistics: UnitStatistics,
    contribution: Tensor,
    noise: Tensor,
    init_range: float,
    config: CBPConfig,
) -> tuple[dict[str, Tensor], UnitStatistics]:
    """Run continual backpropagation once, after the optimiser's step.

    ``tensors`` holds the G-prompt and its moments, as the state names them; ``contribution``
    [G layers, length] is the batch's mean; ``noise`` [max_replacements, G layers, 2 D] is uniform
    in [0, 1). A replaced token starts as a fresh one does, uniform in [-``init_range``,
    ``init_range``], with utility, age and all its moments 0. Returns the changed tensors and the
    statistics.
    """
    changed = dict(tensors)
    chosen, statistics = select_units(age_units(statistics, contribution, config), config)
    for mask, drawn in zip(chosen, initial_prompt(noise, init_range), strict=True):
        replaced = mask.unsqueeze(1).unsqueeze(-1) > 0  # [G layers, 1, length, 1]
        fresh = drawn.unflatten(-1, (2, -1)).unsqueeze(2)  # [G layers, 2, 1, D]
        changed["prompts.g"] = torch.where(replaced, fresh, changed["prompts.g"])
        for moment in MOMENTS:
            name = moment + "prompts.g"
            changed[name] = torch.where(replaced, 0.0, changed[name])
    return changed, statistics
