"""Activations with their backward passes, written in what delegates take.

The slope is computed in the forward pass, which then keeps one tensor. With ``halves`` it is kept
in half precision (`quantize.kept`), and GELU's is a difference of two GELUs, 4 operators and not
10, and wrong by 2^-7 at most.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from quantize.kept import keep, kept

__all__ = ["gelu", "gelu_tanh", "quick_gelu", "swiglu"]

_STEP = 2**-6  # of the difference that is GELU's slope: wrong by half of it times gelu'' < 0.8
_TINY = 1e-30  # beside a square
_TANH = 2 * math.sqrt(2 / math.pi)
_TANH_CUBIC = 0.044715 * _TANH
_QUICK = 1.702


def gelu(x: Tensor, halves: bool = False) -> Tensor:
    """Return ``x Phi(x)``, the exact GELU."""
    output: Tensor = _Gelu.apply(x, halves)  # type: ignore[no-untyped-call]
    return output


def gelu_tanh(x: Tensor, halves: bool = False) -> Tensor:
    """Return GELU's approximation by a tanh, ``x sigmoid(2 sqrt(2 / pi) (x + 0.044715 x^3))``."""
    output: Tensor = _SigmoidGelu.apply(x, _TANH, _TANH_CUBIC, halves)  # type: ignore[no-untyped-call]
    return output


def quick_gelu(x: Tensor, halves: bool = False) -> Tensor:
    """Return GELU's approximation ``x sigmoid(1.702 x)``."""
    output: Tensor = _SigmoidGelu.apply(x, _QUICK, 0.0, halves)  # type: ignore[no-untyped-call]
    return output


def swiglu(x: Tensor, halves: bool = False) -> Tensor:
    """Return ``silu(g) u`` [..., H] of x [..., 2 H] = [g, u], with ``silu(g) = g sigmoid(g)``."""
    output: Tensor = _SwiGLU.apply(x, halves)  # type: ignore[no-untyped-call]
    return output


class _Gelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, halves: bool) -> Tensor:
        output = F.gelu(x)
        if halves:
            keep(ctx, halves, (F.gelu(x + _STEP) - output) * (1 / _STEP))
            return output
        # gelu'(x) = Phi(x) + x phi(x) is all that the backward pass needs. No delegate has erf:
        # Phi = gelu / x; as x gelu / x^2, with a tiny number on both sides, it is finite at 0.
        squared = x * x
        phi = (x * output + 0.5 * _TINY) / (squared + _TINY)
        density = torch.exp(squared * -0.5) * (1 / math.sqrt(2 * math.pi))
        keep(ctx, halves, phi + x * density)
        return output

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (slope,) = kept(ctx)
        return gradient * slope, None


class _SigmoidGelu(torch.autograd.Function):
    """``x sigmoid(a x + b x^3)``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, linear: float, cubic: float, halves: bool) -> Tensor:
        squared = x * x
        sigmoid = torch.sigmoid(x * (squared * cubic + linear))
        output = x * sigmoid
        # sigmoid' = sigmoid (1 - sigmoid), times a + 3 b x^2
        keep(ctx, halves, sigmoid + (output - output * sigmoid) * (squared * (3 * cubic) + linear))
        return output

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        (slope,) = kept(ctx)
        return gradient * slope, None, None, None


class _SwiGLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, halves: bool) -> Tensor:
        width = x.shape[-1] // 2
        gate, up = x[..., :width], x[..., width:]
        sigmoid = torch.sigmoid(gate)
        silu = gate * sigmoid
        # silu'(g) = sigmoid(g) + silu(g) (1 - sigmoid(g))
        keep(ctx, halves, (sigmoid + silu - silu * sigmoid) * up, silu)
        return silu * up

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        to_gate, to_up = kept(ctx)
        return torch.cat([gradient * to_gate, gradient * to_up], dim=-1), None
