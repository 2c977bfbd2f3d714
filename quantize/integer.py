"""A trunk in the form in which whole numbers of 16 bits can hold it.

It computes what the trunk computes, less a norm's epsilon, but of numbers whose ranges a fixed
scale can span, and of functions that a target can read from a table:

- A norm divides each token by its largest absolute value before it squares it. A pretrained ViT has
  a few massive activations: squares of 565 and of 1 have no common scale of 16 bits, squares of
  what lies within ±1 have one.
- A softmax's sum spans two orders of magnitude, too many for a table of its reciprocal. What the
  table gives is corrected by a step of Newton's method, which squares the error.
- A GELU whose inputs reach far is one of what is near zero, where it bends, and a straight line.
"""

import copy
from collections.abc import Callable, Collection
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from quantize.operators import attention, layer_norm, rms_norm
from quantize.trunk import FrozenTrunk

__all__ = ["BEND", "integer_form"]


BEND = 8.0  # beyond it a GELU is 0 or its input, to 1e-14


def integer_form(trunk: FrozenTrunk, far: Collection[str] = ()) -> FrozenTrunk:
    """Return a trunk in fp32 that computes the same in operators for whole numbers; forward only.

    ``far`` names layers before a GELU, as "blocks.7.fc1", whose outputs reach far beyond its bend.
    """
    form = copy.deepcopy(trunk)
    for module in form.modules():
        for name in ("norm", "attention"):
            operator = vars(module).get(name)
            if operator in _FORMS:
                setattr(module, name, _FORMS[operator])
    for name in far:
        block: Any = form.get_submodule(name.rpartition(".")[0])
        block.gelu = _far_gelu
    return form


def _rms_norm(x: Tensor, eps: float, halves: bool = False) -> Tensor:
    scaled = x * x.abs().amax(dim=-1, keepdim=True).reciprocal()
    return scaled * torch.rsqrt(_mean(scaled * scaled))


def _layer_norm(x: Tensor, eps: float, halves: bool = False) -> Tensor:
    return _rms_norm(x - _mean(x), eps)


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    prefix: tuple[Tensor, Tensor] | None = None,
    halves: bool = False,
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


def _far_gelu(x: Tensor, halves: bool = False) -> Tensor:
    return F.gelu(x.clamp(-BEND, BEND)) + F.relu(x - BEND)


def _mean(x: Tensor) -> Tensor:
    total: Tensor = x.sum(dim=-1, keepdim=True)
    return total * (1 / x.shape[-1])


_FORMS: dict[object, Callable[..., Tensor]] = {
    rms_norm: _rms_norm,
    layer_norm: _layer_norm,
    attention: _attention,
}
