"""Linear layers that never learn: fp32 or int8 weights, in the forward and the backward direction.

A frozen layer passes gradients on to its input and has none of its own, so its backward pass is
a product with the same weight, read along its other axis. Both directions are operators of ours,
opaque to a tracer and to the exporter: a target writes them in its delegate's own form.

int8: symmetric weights with a scale for each output channel, and activations quantised
asymmetrically for each token (each vector of the last axis) at run time. Gradients are quantised
like activations. For each token and not for each tensor: the gradient of a class token is larger
than those of the patches by orders of magnitude, and one scale for all would round them to zero.
Going backwards the weight's scales lie along the axis that is summed over, where a GEMM has no
place for them, so the gradient is multiplied by them before it is quantised.
"""

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchao.quantization.quant_primitives import (
    MappingType,
    choose_qparams_affine,
    dequantize_affine,
    quantize_affine,
)

__all__ = [
    "FrozenLinear",
    "Precision",
    "dequantise_tokens",
    "frozen_linear",
    "frozen_linear_transposed",
    "quantise_tokens",
    "quantise_weight",
]

Precision = Literal["int8", "fp32"]

INT8_MIN, INT8_MAX = -128, 127
# The least scale. Gradients are small numbers: torchao's own bound would round them to zero.
LEAST_SCALE = torch.finfo(torch.float32).tiny


def quantise_weight(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return a weight [out, in] as int8 in [-127, 127] and the scales [out] of its channels.

    A channel of zeros gets the smallest normal scale, which a delegate accepts.
    """
    scale = (weight.abs().amax(dim=1) / INT8_MAX).clamp(min=LEAST_SCALE)
    return (weight / scale.unsqueeze(1)).round().to(torch.int8), scale


def quantise_tokens(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return [..., D] as int8, and the scale and zero point [...] of each vector."""
    block = [1] * (x.dim() - 1) + [x.shape[-1]]
    scale, zero = choose_qparams_affine(
        x,
        MappingType.ASYMMETRIC,
        block,
        torch.int8,
        INT8_MIN,
        INT8_MAX,
        LEAST_SCALE,
        scale_dtype=torch.float32,
        zero_point_dtype=torch.int32,
    )
    return quantize_affine(x, block, scale, zero, torch.int8, INT8_MIN, INT8_MAX), scale, zero


def dequantise_tokens(rounded: Tensor, scale: Tensor, zero: Tensor) -> Tensor:
    """Return the fp32 values that `quantise_tokens` rounded to."""
    block = [1] * (rounded.dim() - 1) + [rounded.shape[-1]]
    x: Tensor = dequantize_affine(rounded, block, scale, zero, torch.int8, INT8_MIN, INT8_MAX)
    return x


@torch.library.custom_op("cbpnet::frozen_linear", mutates_args=())
def frozen_linear(x: Tensor, weight: Tensor, scale: Tensor | None, bias: Tensor | None) -> Tensor:
    """Return ``x W^T + b`` for x [..., in] and W [out, in].

    With the ``scale`` [out] of its channels, W is int8 and x is rounded to int8.
    """
    if scale is None:
        return F.linear(x, weight, bias)
    return F.linear(_rounded(x), weight * scale.unsqueeze(1), bias)


@torch.library.custom_op("cbpnet::frozen_linear_transposed", mutates_args=())
def frozen_linear_transposed(x: Tensor, weight: Tensor, scale: Tensor | None) -> Tensor:
    """Return ``x W`` for x [..., out] and W [out, in].

    With the ``scale`` [out] of its channels, W is int8 and x is multiplied by it and then rounded.
    """
    return x @ weight if scale is None else _rounded(x * scale) @ weight.to(x.dtype)


def _rounded(x: Tensor) -> Tensor:
    return dequantise_tokens(*quantise_tokens(x))


@frozen_linear.register_fake
def _(x: Tensor, weight: Tensor, scale: Tensor | None, bias: Tensor | None) -> Tensor:
    return x.new_empty(*x.shape[:-1], weight.shape[0])


@frozen_linear_transposed.register_fake
def _(x: Tensor, weight: Tensor, scale: Tensor | None) -> Tensor:
    return x.new_empty(*x.shape[:-1], weight.shape[1])


class FrozenLinear(nn.Module):
    """A frozen layer ``x W^T + b`` on x [..., in], differentiable with respect to x.

    ``weight`` is [out, in], ``bias`` [out]. In "int8" it is held with its ``scale`` [out].
    """

    weight: Tensor
    scale: Tensor | None
    bias: Tensor | None

    def __init__(self, weight: Tensor, bias: Tensor | None, precision: Precision) -> None:
        super().__init__()
        scale = None
        if precision == "int8":
            weight, scale = quantise_weight(weight)
        self.register_buffer("weight", weight.contiguous())
        self.register_buffer("scale", scale)
        self.register_buffer("bias", bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return [..., out]."""
        output: Tensor = _Differentiable.apply(x, self)  # type: ignore[no-untyped-call]
        return output


class _Differentiable(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: FrozenLinear) -> Tensor:
        ctx.layer = layer
        output: Tensor = frozen_linear(x, layer.weight, layer.scale, layer.bias)
        return output

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        output: Tensor = frozen_linear_transposed(gradient, ctx.layer.weight, ctx.layer.scale)
        return output, None
