"""Static int8: activations rounded with one scale for each tensor, which calibration found.

For targets that cannot choose scales at run time. What can be rounded are the layers (a layer's
input and its weight, for each output channel) and the tensors between them: layers' outputs and the
residual stream. Attention's scores and weights, norms and GELU compute on rounded tensors in fp32.

A static trunk computes forward only, and rounds with the operators that targets' exporters know
from PyTorch's own quantisation (`quantized_decomposed`). Run in PyTorch it simulates a target;
traced, it is what a target lowers.
"""

import copy
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.ao.quantization.fx._decomposed  # registers the operators
from torch import Tensor, nn

from cbpnet.host.errors import InputError
from quantize.frozen_linear import (
    INT8_MAX,
    INT8_MIN,
    LEAST_SCALE,
)
from quantize.trunk import FrozenTrunk
from quantize.weight_only import RoundedWeightLinear

__all__ = ["Prefixes", "StaticRecipe", "TensorRange", "calibrate", "roundable", "static_trunk"]

Prefixes = Mapping[int, Tensor] | None

OUTPUT = ".output"

_QUANTIZED = torch.ops.quantized_decomposed


@dataclass(frozen=True)
class TensorRange:
    """The values between which a tensor is rounded to 256 steps; zero is one of them."""

    low: float
    high: float

    @property
    def scale(self) -> float:
        """The size of a step."""
        return max((max(self.high, 0.0) - min(self.low, 0.0)) / (INT8_MAX - INT8_MIN), LEAST_SCALE)

    @property
    def zero_point(self) -> int:
        """The int8 number that means zero."""
        return INT8_MIN - round(min(self.low, 0.0) / self.scale)

    def round(self, x: Tensor) -> Tensor:
        """Return what int8 makes of x."""
        form = (self.scale, self.zero_point, INT8_MIN, INT8_MAX, torch.int8)
        rounded: Tensor = _QUANTIZED.quantize_per_tensor.default(x, *form)
        values: Tensor = _QUANTIZED.dequantize_per_tensor.default(rounded, *form)
        return values


@dataclass(frozen=True)
class StaticRecipe:
    """How a trunk is rounded: ``ranges`` by the names of `roundable`, less those kept in fp32.

    A layer's range is that of its input.
    """

    ranges: Mapping[str, TensorRange]
    keep_fp32: Sequence[str] = field(default=())


def roundable(trunk: FrozenTrunk, layers_only: bool = False) -> list[str]:
    """Return the names of what static int8 can round, in the order of computation.

    "blocks.0.fc1" is a layer, "blocks.0.fc1.output" its output; "embedding",
    "blocks.0.attention_sum" and "blocks.0.mlp_sum" are the residual stream. A target that computes
    only matrix products in int8 rounds the layers only.
    """
    names = []
    for name, _ in trunk.named_modules():
        if name in trunk.layers:
            names += [name] if layers_only else [name, name + OUTPUT]
        elif not layers_only and name.rpartition(".")[2] in _RESIDUAL:
            names.append(name)
    return names


def calibrate(
    trunk: FrozenTrunk,
    batches: Iterable[Tensor],
    passes: Sequence[Prefixes] = (None,),
    percentile: float = 100.0,
) -> dict[str, TensorRange]:
    """Return the range of every roundable tensor, seen on batches of normalised images.

    Each batch is taken through the trunk once for each of ``passes``, for instance without and
    with prompts. A range ends at the lowest and the highest of the batches' percentiles; 100 takes
    all that was seen, less cuts outliers at both ends.

    Raises InputError for a percentile outside (50, 100] and where there is no batch.
    """
    if not 50 < percentile <= 100:
        raise InputError(f"percentile {percentile} must be above 50 and at most 100")
    seen: dict[str, TensorRange] = {}

    def observe(name: str, x: Tensor) -> None:
        low, high = _percentiles(x, percentile)
        before = seen.get(name, TensorRange(low, high))
        seen[name] = TensorRange(min(low, before.low), max(high, before.high))

    observed = copy.deepcopy(trunk)
    for name in roundable(observed):
        _at(observed, name, lambda x, name=name: observe(name, x))
    with torch.no_grad():
        for images in batches:
            for prefixes in passes:
                observed.parts(images, prefixes, observed.features)
    if not seen:
        raise InputError("calibration needs at least one image; right would be some hundred")
    return seen


def static_trunk(trunk: FrozenTrunk, recipe: StaticRecipe) -> FrozenTrunk:
    """Return a trunk that computes what static int8 would, from one in fp32.

    Raises InputError where the trunk is not in fp32 or the recipe names what it does not have.
    """
    names = roundable(trunk)
    if any(layer.scale is not None for layer in trunk.layers.values()):
        raise InputError(
            f"the trunk of {trunk.name} is in int8; static int8 is made from one in fp32"
        )
    for name in [*recipe.ranges, *recipe.keep_fp32]:
        if name not in names:
            raise InputError(
                f"{name!r} cannot be rounded in {trunk.name}; right would be {names[0]}, "
                f"{names[1]} and so on to {names[-1]}"
            )
    rounded = copy.deepcopy(trunk)
    ranges = {name: r for name, r in recipe.ranges.items() if name not in recipe.keep_fp32}
    for name in ranges.keys() & rounded.layers.keys():
        rounded.layers[name] = RoundedWeightLinear(rounded.layers[name])
        rounded.set_submodule(name, rounded.layers[name])
    for name, tensor_range in ranges.items():
        _at(rounded, name, tensor_range.round)
    return rounded


_RESIDUAL = ("embedding", "attention_sum", "mlp_sum")


def _at(trunk: FrozenTrunk, name: str, function: Any) -> None:
    """Apply a function to a tensor of a trunk; what it returns, if anything, takes its place."""
    if name in trunk.layers:
        trunk.layers[name].register_forward_pre_hook(lambda _, inputs: function(*inputs))
        return
    module: nn.Module = trunk.get_submodule(name.removesuffix(OUTPUT))
    module.register_forward_hook(lambda _, inputs, output: function(output))


def _percentiles(x: Tensor, percentile: float) -> tuple[float, float]:
    flat = x.flatten()
    if percentile == 100:
        return flat.min().item(), flat.max().item()
    rank = math.ceil(len(flat) * percentile / 100)
    return flat.kthvalue(len(flat) + 1 - rank).values.item(), flat.kthvalue(rank).values.item()
