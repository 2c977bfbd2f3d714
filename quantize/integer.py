"""A trunk in the form in which whole numbers of 16 bits can hold it.

It computes what the trunk computes, less a norm's epsilon, but of numbers whose ranges a fixed
scale can span, and of functions that a target can read from a table:

- A norm divides each token by its largest absolute value before it squares it
  (`quantize.scaled_norm`).
- A softmax's sum spans two orders of magnitude, too many for a table of its reciprocal. What the
  table gives is corrected by a step of Newton's method, which squares the error.
- A GELU whose inputs reach far is one of what is near zero, where it bends, and a straight line.
"""

from collections.abc import Callable, Collection
from dataclasses import replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from cbpnet.backbone.architecture import gelu_tanh, quick_gelu
from quantize.operators import EXACT
from quantize.scaled_norm import scaled_layer_norm, scaled_rms_norm
from quantize.trunk import FrozenTrunk

__all__ = ["BEND", "integer_form"]


BEND = 8.0  # beyond it a GELU is 0 or its input, to 1e-14


def integer_form(trunk: FrozenTrunk, far: Collection[str] = ()) -> FrozenTrunk:
    """Return a trunk in fp32 that computes the same in operators for whole numbers; forward only.

    ``far`` names layers before a GELU, as "blocks.7.fc1", whose outputs reach far beyond its bend.
    """
    far_parts = [name.rpartition(".")[0] for name in far]
    return trunk.with_operators(_INTEGER, dict.fromkeys(far_parts, _INTEGER_FAR))


def _attention(
    query: Tensor, key: Tensor, value: Tensor, prefix: tuple[Tensor, Tensor] | None
) -> Tensor:
    if prefix is not None:
        key = torch.cat([prefix[0], key], dim=1)
        value = torch.cat([prefix[1], value], dim=1)
    scores = torch.bmm(query, key.permute(0, 2, 1))
    weights = torch.exp(scores - scores.amax(dim=-1, keepdim=True))
    total = weights.sum(dim=-1, keepdim=True)
    inverse = total.reciprocal()
    inverse = inverse * (2.0 - total * inverse)
    return torch.bmm(weights * inverse, value)


def _far(gelu: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    return gelu(x.clamp(-BEND, BEND)) + F.relu(x - BEND)


_INTEGER = replace(
    EXACT,
    layer_norm=scaled_layer_norm,
    rms_norm=scaled_rms_norm,
    attention=_attention,
    gelu_tanh=gelu_tanh,
    quick_gelu=quick_gelu,
)
_INTEGER_FAR = replace(
    _INTEGER,
    gelu=partial(_far, F.gelu),
    gelu_tanh=partial(_far, gelu_tanh),
    quick_gelu=partial(_far, quick_gelu),
)
