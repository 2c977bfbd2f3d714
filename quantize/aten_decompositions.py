"""A trunk's own operators in PyTorch's, for exporters that know no others."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor
from torch._ops import OpOverload

import quantize.frozen_linear
import quantize.operators  # noqa: F401  registers row_sum

__all__ = ["ATEN_DECOMPOSITIONS"]


def _linear(x: Tensor, weight: Tensor, scale: Tensor | None, bias: Tensor | None) -> Tensor:
    _check_fp32(scale)
    return F.linear(x, weight, bias)


def _linear_transposed(x: Tensor, weight: Tensor, scale: Tensor | None) -> Tensor:
    _check_fp32(scale)
    return x @ weight


def _check_fp32(scale: Tensor | None) -> None:
    if scale is not None:
        raise ValueError("a layer that rounds each token at run time has no plain form")


def _row_sum(x: Tensor, factor: float) -> Tensor:
    total: Tensor = x.sum(dim=-1, keepdim=True) * factor
    return total


# A table of decompositions, as `make_fx` takes it.
ATEN_DECOMPOSITIONS: dict[OpOverload, Callable[..., Tensor]] = {
    torch.ops.cbpnet.frozen_linear.default: _linear,
    torch.ops.cbpnet.frozen_linear_transposed.default: _linear_transposed,
    torch.ops.cbpnet.row_sum.default: _row_sum,
}
