"""A transformer's operators with their backward passes, written in what delegates take.

A learning step is lowered as one graph of forward and backward pass. Whatever a delegate cannot
take cuts that graph, and each cut costs more than the operator: so sums over an axis are products
with a frozen vector, attention is 3-d matrix products and a softmax, and no backward pass holds an
expand, a scatter or a select.

With ``halves`` an operator keeps in half precision what its backward pass needs, which is most of
the memory that learning takes: an error of 2^-11 where a gradient is rounded to 8 bits anyway.
GELU's slope then is a difference of two GELUs, 4 operators and not 10, and wrong by 2^-7 at most.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = [
    "attention",
    "centred",
    "first_tokens",
    "gelu",
    "halved",
    "layer_norm",
    "restored",
    "rms_norm",
    "row_sum",
    "thirds",
]

_STEP = 2**-6  # of the difference that is GELU's slope: wrong by half of it times gelu'' < 0.8
_TINY = 1e-30  # beside a square


@torch.library.custom_op("cbpnet::row_sum", mutates_args=())
def row_sum(x: Tensor, factor: float) -> Tensor:
    """Return the sum [..., 1] along the last axis of x [..., D], times ``factor``.

    `quantize.rewrite` makes it a product with a constant vector, the one form of a sum that
    delegates take.
    """
    total: Tensor = x.sum(dim=-1, keepdim=True) * factor
    return total


@row_sum.register_fake
def _(x: Tensor, factor: float) -> Tensor:
    return x.new_empty(*x.shape[:-1], 1)


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


def centred(x: Tensor) -> Tensor:
    """Return x [..., D] less its mean along the last axis; no gradient passes."""
    return x - _mean(x)


def layer_norm(x: Tensor, eps: float, halves: bool = False) -> Tensor:
    """Return x [..., D] with mean 0 and variance 1 along the last axis, without scale and shift."""
    output: Tensor = _LayerNorm.apply(x, eps, halves)  # type: ignore[no-untyped-call]
    return output


def rms_norm(x: Tensor, eps: float, halves: bool = False) -> Tensor:
    """Return `layer_norm` of x [..., D] whose mean along the last axis is 0 already."""
    output: Tensor = _RmsNorm.apply(x, eps, halves)  # type: ignore[no-untyped-call]
    return output


def gelu(x: Tensor, halves: bool = False) -> Tensor:
    """Return ``x Phi(x)``, the exact GELU."""
    output: Tensor = _Gelu.apply(x, halves)  # type: ignore[no-untyped-call]
    return output


def first_tokens(x: Tensor, count: int) -> Tensor:
    """Return the first ``count`` tokens of x [B, N, D]."""
    output: Tensor = _FirstTokens.apply(x, count)  # type: ignore[no-untyped-call]
    return output


def thirds(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the three equal parts of x [B, 3 H, ...] along the second axis."""
    parts: tuple[Tensor, Tensor, Tensor] = _Thirds.apply(x)  # type: ignore[no-untyped-call]
    return parts


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    prefix: tuple[Tensor, Tensor] | None = None,
    halves: bool = False,
) -> Tensor:
    """Return ``softmax(q k^T) v`` for q [B, N, d] and k, v [B, M, d]; the scale is q's.

    A ``prefix`` of keys and values [B, L, d] stands before k and v.
    """
    output: Tensor = _Attention.apply(  # type: ignore[no-untyped-call]
        query, key, value, *(prefix or (None, None)), halves
    )
    return output


def _mean(x: Tensor) -> Tensor:
    """Return the mean [..., 1] along the last axis."""
    mean: Tensor = row_sum(x, 1 / x.shape[-1])
    return mean


def _keep(ctx: Any, halves: bool, *values: Tensor) -> None:
    ctx.halves = halves
    ctx.save_for_backward(*(halved(value) if halves else value for value in values))


def _kept(ctx: Any) -> list[Tensor]:
    return [restored(value) if ctx.halves else value for value in ctx.saved_tensors]


class _LayerNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, eps: float, halves: bool) -> Tensor:
        return _RmsNorm.forward(ctx, centred(x), eps, halves)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return _RmsNorm.backward(ctx, centred(gradient))


class _RmsNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, eps: float, halves: bool) -> Tensor:
        inverse = torch.rsqrt(_mean(x * x) + eps)
        normalised = x * inverse
        _keep(ctx, halves, normalised, inverse)
        return normalised

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        normalised, inverse = _kept(ctx)
        along = normalised * _mean(gradient * normalised)
        return (gradient - along) * inverse, None, None


class _Gelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, halves: bool) -> Tensor:
        output = F.gelu(x)
        if halves:
            _keep(ctx, halves, (F.gelu(x + _STEP) - output) * (1 / _STEP))
            return output
        # gelu'(x) = Phi(x) + x phi(x) is all that the backward pass needs. No delegate has erf:
        # Phi = gelu / x; as x gelu / x^2, with a tiny number on both sides, it is finite at 0.
        squared = x * x
        phi = (x * output + 0.5 * _TINY) / (squared + _TINY)
        density = torch.exp(squared * -0.5) * (1 / math.sqrt(2 * math.pi))
        _keep(ctx, halves, phi + x * density)
        return output

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (slope,) = _kept(ctx)
        return gradient * slope, None


class _FirstTokens(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, count: int) -> Tensor:
        ctx.rest = x.shape[1] - count
        return x[:, :count]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return F.pad(gradient, (0, 0, 0, ctx.rest)), None


class _Thirds(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        size = x.shape[1] // 3
        return x[:, :size], x[:, size : 2 * size], x[:, 2 * size :]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return torch.cat(gradients, dim=1)


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        prefix_key: Tensor | None,
        prefix_value: Tensor | None,
        halves: bool,
    ) -> Tensor:
        ctx.length = 0
        if prefix_key is not None and prefix_value is not None:
            ctx.length = prefix_key.shape[1]
            key = torch.cat([prefix_key, key], dim=1)
            value = torch.cat([prefix_value, value], dim=1)
        weights = torch.softmax(torch.bmm(query, key.permute(0, 2, 1)), dim=-1)
        output = torch.bmm(weights, value)
        ctx.all_learn = any(ctx.needs_input_grad[:3])
        if ctx.all_learn or prefix_key is None or prefix_value is None:
            _keep(ctx, halves, query, key, value, weights, output)
        else:
            weights = weights[:, :, : ctx.length]
            _keep(ctx, halves, query, prefix_key, prefix_value, weights, output)
        return output

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, weights, output = _kept(ctx)
        # sum_m dP P = sum_d dO O: the shorter row of the two.
        along = row_sum(gradient * output, 1.0)
        to_scores = weights * (torch.bmm(gradient, value.permute(0, 2, 1)) - along)
        to_key = torch.bmm(to_scores.permute(0, 2, 1), query)
        to_value = torch.bmm(weights.permute(0, 2, 1), gradient)
        if not ctx.all_learn:
            return None, None, None, to_key, to_value, None
        to_query = torch.bmm(to_scores, key)
        length = ctx.length
        if length == 0:
            return to_query, to_key, to_value, None, None, None
        return (
            to_query,
            to_key[:, length:],
            to_value[:, length:],
            to_key[:, :length],
            to_value[:, :length],
            None,
        )
