"""Moving outliers from activations into frozen weights, which changes nothing in fp32.

SmoothQuant (arXiv:2211.10438, equation 4): where a norm stands before a linear layer, the norm's
output is divided by a factor for each channel, and the weight's columns are multiplied by it. Here
the norm's scale was folded into the weight, so that the factors are the only scale that the norm
keeps.
"""

import copy
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from quantize.static_int8 import Prefixes
from quantize.trunk import FrozenTrunk

__all__ = ["channel_maxima", "smooth", "smoothing_factors"]

# The layers that a norm stands before, and the norm.
NORM_OF = {"qkv": "norm1", "fc1": "norm2"}


def channel_maxima(
    trunk: FrozenTrunk, batches: Iterable[Tensor], passes: Sequence[Prefixes] = (None,)
) -> dict[str, Tensor]:
    """Return the largest absolute input [in] in each channel of the layers that follow a norm."""
    maxima: dict[str, Tensor] = {}
    observed = copy.deepcopy(trunk)
    for name, layer in observed.layers.items():
        if name.rpartition(".")[2] not in NORM_OF:
            continue

        def observe(_: object, inputs: tuple[Tensor, ...], name: str = name) -> None:
            found = inputs[0].flatten(0, -2).abs().amax(dim=0)
            maxima[name] = torch.maximum(found, maxima[name]) if name in maxima else found

        layer.register_forward_pre_hook(observe)
    with torch.no_grad():
        for images in batches:
            for prefixes in passes:
                observed(images, prefixes)
    return maxima


def smoothing_factors(
    trunk: FrozenTrunk, maxima: Mapping[str, Tensor], strength: float
) -> dict[str, Tensor]:
    """Return the factors [in] by layer, ``max |x|^a / max |w|^(1 - a)`` with a the strength.

    0 leaves all to the weights as they are, 1 moves the activations' whole range into them.
    """
    factors = {}
    for name, activation in maxima.items():
        weight = trunk.layers[name].weight.abs().amax(dim=0)
        factor = activation.clamp(min=1e-5) ** strength / weight.clamp(min=1e-5) ** (1 - strength)
        factors[name] = factor
    return factors


def smooth(trunk: FrozenTrunk, factors: Mapping[str, Tensor]) -> FrozenTrunk:
    """Return a trunk in fp32 that computes the same with smoothed inputs of some layers."""
    smoothed = copy.deepcopy(trunk)
    for name, factor in factors.items():
        block, _, kind = name.rpartition(".")
        norm = smoothed.get_submodule(f"{block}.{NORM_OF[kind]}")
        norm.weight = 1 / factor
        smoothed.layers[name].weight = smoothed.layers[name].weight * factor
    return smoothed
