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

__all__ = ["round_weights"]


def round_weights(trunk: FrozenTrunk) -> FrozenTrunk:
    """Return a trunk in fp32 with its layers' weights in int8; forward only.

    They are rounded as `quantize.frozen_linear.quantise_weight` does, and stay int8 where the trunk
    is lowered: a layer dequantises them in the form that PT2E writes.
    """
    rounded = copy.deepcopy(trunk)
    for name, layer in trunk.layers.items():
        rounded.layers[name] = _WeightOnlyLinear(layer)
        rounded.set_submodule(name, rounded.layers[name])
    return rounded


class _WeightOnlyLinear(FrozenLinear):
    zero: Tensor

    def __init__(self, layer: FrozenLinear) -> None:
        super().__init__(layer.weight, layer.bias, "int8")
        self.register_buffer("zero", torch.zeros(len(self.weight), dtype=torch.int8))

    def forward(self, x: Tensor) -> Tensor:
        assert self.scale is not None
        channels = (self.scale, self.zero, 0)
        weight: Tensor = torch.ops.quantized_decomposed.dequantize_per_channel.default(
            self.weight, *channels, -INT8_MAX, INT8_MAX, torch.int8, out_dtype=self.scale.dtype
        )
        return F.linear(x, weight, self.bias)
