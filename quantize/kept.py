"""What a forward pass keeps for the backward pass, in fp32 or in half precision.

It is most of the memory that learning takes. In half precision it has an error of 2^-11, where a
gradient is rounded to 8 bits anyway.
"""

from typing import Any

import torch
from torch import Tensor

__all__ = ["halved", "keep", "kept", "restored"]


@torch.library.custom_op("cbpnet::halved", mutates_args=())
def halved(x: Tensor) -> Tensor:
    """Return x [...] in half precision, in which it is kept for the backward pass."""
    return x.half()


@torch.library.custom_op("cbpnet::restored", mutates_args=())
def restored(x: Tensor) -> Tensor:
    """Return what was `halved` in fp32."""
    return x.float()


@halved.register_fake
def _(x: Tensor) -> Tensor:
    return x.new_empty(x.shape, dtype=torch.float16)


@restored.register_fake
def _(x: Tensor) -> Tensor:
    return x.new_empty(x.shape, dtype=torch.float32)


def keep(ctx: Any, halves: bool, *values: Tensor) -> None:
    """Keep values in an autograd function's context, with ``halves`` in half precision."""
    ctx.halves = halves
    ctx.save_for_backward(*(halved(value) if halves else value for value in values))


def kept(ctx: Any) -> list[Tensor]:
    """Return what was kept, in the dtype in which it is to be computed with."""
    return [restored(value) if ctx.halves else value for value in ctx.saved_tensors]
