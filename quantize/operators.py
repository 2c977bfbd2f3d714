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
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = [
    "EXACT",
    "KEEPING_HALVES",
    "Operators",
    "attention",
    "centred",
    "equal_parts",
    "first_tokens",
    "gelu",
    "halved",
    "layer_norm",
    "restored",
    "rms_norm",
    "rotate",
    "row_sum",
    "swiglu",
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


def equal_parts(x: Tensor, count: int) -> tuple[Tensor, ...]:
    """Return the ``count`` equal parts of x [B, count H, ...] along the second axis."""
    parts: tuple[Tensor, ...] = _EqualParts.apply(x, count)  # type: ignore[no-untyped-call]
    return parts


def rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Return ``x cos + swapped(x) sin`` for x [..., d] whose halves are ``swapped``.

    It is a rotary embedding whose pairs are ``i`` and ``i + d/2`` where the first half of ``sine``
    has the sign of -sin. No gradient passes to the tables, which broadcast to x.
    """
    output: Tensor = _Rotate.apply(x, cosine, sine)  # type: ignore[no-untyped-call]
    return output


def swiglu(x: Tensor, halves: bool = False) -> Tensor:
    """Return ``silu(g) u`` [..., H] of x [..., 2 H] = [g, u], with ``silu(g) = g sigmoid(g)``."""
    output: Tensor = _SwiGLU.apply(x, halves)  # type: ignore[no-untyped-call]
    return output


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


class _EqualParts(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, count: int) -> tuple[Tensor, ...]:
        size = x.shape[1] // count
        return tuple(x[:, part * size : (part + 1) * size] for part in range(count))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return torch.cat(gradients, dim=1), None


class _Rotate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        ctx.save_for_backward(cosine, sine)
        return x * cosine + _swapped(x) * sine

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        cosine, sine = ctx.saved_tensors
        return gradient * cosine + _swapped(gradient * sine), None, None


def _swapped(x: Tensor) -> Tensor:
    half = x.shape[-1] // 2
    return torch.cat([x[..., half:], x[..., :half]], dim=-1)


class _SwiGLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, halves: bool) -> Tensor:
        width = x.shape[-1] // 2
        gate, up = x[..., :width], x[..., width:]
        sigmoid = torch.sigmoid(gate)
        silu = gate * sigmoid
        # silu'(g) = sigmoid(g) + silu(g) (1 - sigmoid(g))
        _keep(ctx, halves, (sigmoid + silu - silu * sigmoid) * up, silu)
        return silu * up

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        to_gate, to_up = _kept(ctx)
        return torch.cat([gradient * to_gate, gradient * to_up], dim=-1), None


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


@dataclass(frozen=True)
class Operators:
    """What a part of a trunk computes with, beside its linear layers.

    ``layer_norm`` and ``rms_norm`` take tokens and epsilon, the second tokens of mean 0;
    ``attention`` takes query, key, value and a prefix of keys and values, or None.
    """

    layer_norm: Callable[[Tensor, float], Tensor]
    rms_norm: Callable[[Tensor, float], Tensor]
    attention: Callable[[Tensor, Tensor, Tensor, tuple[Tensor, Tensor] | None], Tensor]
    gelu: Callable[[Tensor], Tensor]
    swiglu: Callable[[Tensor], Tensor]


EXACT = Operators(layer_norm, rms_norm, attention, gelu, swiglu)
KEEPING_HALVES = Operators(
    partial(layer_norm, halves=True),
    partial(rms_norm, halves=True),
    partial(attention, halves=True),
    partial(gelu, halves=True),
    partial(swiglu, halves=True),
)
