"""A transformer's operators with their backward passes, written in what delegates take.

A learning step is lowered as one graph of forward and backward pass. Whatever a delegate cannot
take cuts that graph, and each cut costs more than the operator: so sums over an axis are products
with a frozen vector, attention is 3-d matrix products and a softmax, and no backward pass holds an
expand, a scatter or a select.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["attention", "first_tokens", "gelu", "layer_norm", "row_sum", "thirds"]


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


def layer_norm(x: Tensor, eps: float) -> Tensor:
    """Return x [..., D] with mean 0 and variance 1 along the last axis, without scale and shift."""
    output: Tensor = _LayerNorm.apply(x, eps)  # type: ignore[no-untyped-call]
    return output


def gelu(x: Tensor) -> Tensor:
    """Return ``x Phi(x)``, the exact GELU."""
    output: Tensor = _Gelu.apply(x)  # type: ignore[no-untyped-call]
    return output


def first_tokens(x: Tensor, count: int) -> Tensor:
    """Return the first ``count`` tokens of x [B, N, D]."""
    output: Tensor = _FirstTokens.apply(x, count)  # type: ignore[no-untyped-call]
    return output


def thirds(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the three equal parts of x [B, 3 H, ...] along the second axis."""
    parts: tuple[Tensor, Tensor, Tensor] = _Thirds.apply(x)  # type: ignore[no-untyped-call]
    return parts


def attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Return ``softmax(q k^T) v`` for q [B, N, d] and k, v [B, M, d]; the scale is q's."""
    output: Tensor = _Attention.apply(query, key, value)  # type: ignore[no-untyped-call]
    return output


def _mean(x: Tensor) -> Tensor:
    """Return the mean [..., 1] along the last axis."""
    mean: Tensor = row_sum(x, 1 / x.shape[-1])
    return mean


class _LayerNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, eps: float) -> Tensor:
        centred = x - _mean(x)
        inverse = torch.rsqrt(_mean(centred * centred) + eps)
        normalised = centred * inverse
        ctx.save_for_backward(normalised, inverse)
        return normalised

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        normalised, inverse = ctx.saved_tensors
        along = normalised * _mean(gradient * normalised)
        return (gradient - _mean(gradient) - along) * inverse, None


class _Gelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        output = F.gelu(x)
        ctx.save_for_backward(x, output)
        return output

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        # gelu'(x) = Phi(x) + x phi(x). No delegate has erf: Phi - 1/2 = (gelu - x/2) / x, an odd
        # function, is taken from the forward pass; near 0, x / (x^2 + tiny) keeps it finite.
        x, output = ctx.saved_tensors
        squared = x * x
        beyond_half = (output - 0.5 * x) * x / (squared + 1e-12)
        density = torch.exp(squared * -0.5) * (1 / math.sqrt(2 * math.pi))
        result: Tensor = gradient * (beyond_half + 0.5 + x * density)
        return result


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
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        weights = torch.softmax(torch.bmm(query, key.permute(0, 2, 1)), dim=-1)
        ctx.save_for_backward(query, key, value, weights)
        return torch.bmm(weights, value)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        query, key, value, weights = ctx.saved_tensors
        to_weights = torch.bmm(gradient, value.permute(0, 2, 1))
        along = to_weights * weights
        to_scores = along - weights * row_sum(along, 1.0)
        return (
            torch.bmm(to_scores, key),
            torch.bmm(to_scores.permute(0, 2, 1), query),
            torch.bmm(weights.permute(0, 2, 1), gradient),
        )
