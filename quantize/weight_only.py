"""int8 for the weights alone: a smaller backbone whose activations are not rounded.

A scale for each output channel, no calibration. It saves what a target reads from memory; products
are computed in floating point.
"""

import copy

import torch
import torch.ao.quantization.fx._decomposed  # registers the operators
import torch.nn.functional as F
from torch import Tensor

from quantize.frozen_linear import INT8_MAX, FrozenLinear
from quantize.trunk import FrozenTrunk

__all__ = ["RoundedWeightLinear", "round_weights"]


def round_weights(trunk: FrozenTrunk, marked: bool = True) -> FrozenTrunk:
    """Return a trunk in fp32 with its layers' weights in int8; forward only.

    They are rounded as `quantize.frozen_linear.quantise_weight` does. ``marked`` layers dequantise
    them by the operator that PT2E writes, by which most exporters know to keep them in int8; others
    know a product with the scales.
    """
    rounded = copy.deepcopy(trunk)
    layer_of = _MarkedLinear if marked else RoundedWeightLinear
    for name, layer in trunk.layers.items():
        rounded.layers[name] = layer_of(layer)
        rounded.set_submodule(name, rounded.layers[name])
    return rounded


class RoundedWeightLinear(FrozenLinear):
    """A frozen layer ``x W^T + b`` with an int8 weight, made from one in fp32; forward only."""

    def __init__(self, layer: FrozenLinear) -> None:
        super().__init__(layer.weight, layer.bias, "int8")

    def forward(self, x: Tensor) -> Tensor:
        """Return [..., out]."""
        return F.linear(x, self.dequantised(), self.bias)

    def dequantised(self) -> Tensor:
        """Return the weight [out, in] in the type of its scales."""
        assert self.scale is not None
        return self.weight.to(self.scale.dtype) * self.scale.unsqueeze(1)


class _MarkedLinear(RoundedWeightLinear):
    zero: Tensor

    def __init__(self, layer: FrozenLinear) -> None:
        super().__init__(layer)
        self.register_buffer("zero", torch.zeros(len(self.weight), dtype=torch.int8))

    def dequantised(self) -> Tensor:
        assert self.scale is not None
        channels = (self.scale, self.zero, 0)
        weight: Tensor = torch.ops.quantized_decomposed.dequantize_per_channel.default(
            self.weight, *channels, -INT8_MAX, INT8_MAX, torch.int8, out_dtype=self.scale.dtype
        )
        return weight
