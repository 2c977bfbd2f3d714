"""A transformer's operators with their backward passes, written in what delegates take.

A learning step is lowered as one graph of forward and backward pass. Whatever a delegate cannot
take cuts that graph, and each cut costs more than the operator: so sums over an axis are products
with a frozen vector, attention is 3-d matrix products and a softmax, and no backward pass holds an
expand, a scatter or a select.

With ``halves`` an operator keeps in half precision what its backward pass needs (`quantize.kept`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from quantize.activations import gelu, gelu_tanh, quick_gelu, swiglu
from quantize.kept import keep, kept

__all__ = [
    "EXACT",
    "KEEPING_HALVES",
    "Operators",
    "attention",
    "centred",
    "equal_parts",
    "layer_norm",
    "prefix_attention",
    "rms_norm",
    "rotate",
    "row_sum",
    "select_tokens",
]


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


def select_tokens(x: Tensor, first: int, last: int) -> Tensor:
    """Return the tokens ``first`` to ``last`` - 1 of x [B, N, D]."""
    output: Tensor = _SelectTokens.apply(x, first, last)  # type: ignore[no-untyped-call]
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


def prefix_attention(query: Tensor, key: Tensor, prefix_key: Tensor) -> Tensor:
    """Return the attention [B, L] that prefix keys [B, L, d] receive in `attention`.

    It is the mean over the queries [B, N, d] of a prefix key's probability, which it shares with
    the keys [B, M, d]; no gradient passes.
    """
    with torch.no_grad():
        keys = torch.cat([prefix_key, key], dim=1)
        weights = torch.softmax(torch.bmm(query, keys.permute(0, 2, 1)), dim=-1)
        received = weights[:, :, : prefix_key.shape[1]].permute(0, 2, 1)
        return _mean(received).squeeze(-1)


def _mean(x: Tensor) -> Tensor:
    """Return the mean [..., 1] along the last axis."""
    mean: Tensor = row_sum(x, 1 / x.shape[-1])
    return mean


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
        keep(ctx, halves, normalised, inverse)
        return normalised

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        normalised, inverse = kept(ctx)
        along = normalised * _mean(gradient * normalised)
        return (gradient - along) * inverse, None, None


class _SelectTokens(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, first: int, last: int) -> Tensor:
        ctx.before, ctx.after = first, x.shape[1] - last
        return x[:, first:last]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return F.pad(gradient, (0, 0, ctx.before, ctx.after)), None, None


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
            keep(ctx, halves, query, key, value, weights, output)
        else:
            weights = weights[:, :, : ctx.length]
            keep(ctx, halves, query, prefix_key, prefix_value, weights, output)
        return output

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, weights, output = kept(ctx)
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
    gelu_tanh: Callable[[Tensor], Tensor]
    quick_gelu: Callable[[Tensor], Tensor]
    swiglu: Callable[[Tensor], Tensor]


EXACT = Operators(layer_norm, rms_norm, attention, gelu, gelu_tanh, quick_gelu, swiglu)
KEEPING_HALVES = Operators(
    partial(layer_norm, halves=True),
    partial(rms_norm, halves=True),
    partial(attention, halves=True),
    partial(gelu, halves=True),
    partial(gelu_tanh, halves=True),
    partial(quick_gelu, halves=True),
    partial(swiglu, halves=True),
)
