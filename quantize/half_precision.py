"""The forward pass in half precision, for accelerators that have no other.

What would overflow there, the squares in a norm, is scaled first: a pretrained ViT has activations
of several hundred, and 65504 is the largest number in half precision.
"""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from quantize.operators import layer_norm, rms_norm
from quantize.static import Prefixes
from quantize.trunk import FrozenTrunk

__all__ = ["HalfTrunk"]

# Beside a token's largest absolute value, and a normal number in half precision.
_TINY = 1e-4


class HalfTrunk(nn.Module):
    """Computes a trunk's features in half precision, from images and prefixes in fp32.

    Only patches are padded and get their positions in fp32. Run in PyTorch it simulates an
    accelerator, which may round sums otherwise; traced, it is what a target lowers. Forward only.

    Attributes:
        dim: width D of the features.
    """

    def __init__(self, trunk: FrozenTrunk) -> None:
        super().__init__()
        self.dim = trunk.dim
        self.trunk = copy.deepcopy(trunk).half()
        self.trunk.position = trunk.position
        self.trunk.patch_embed.register_forward_pre_hook(lambda _, inputs: (inputs[0].half(),))
        self.trunk.patch_embed.register_forward_hook(lambda _, inputs, output: output.float())
        self.trunk.embedding.register_forward_hook(lambda _, inputs, output: output.half())
        for module in self.trunk.modules():
            given = vars(module)
            if given.get("norm") in _SCALED:
                given["norm"] = _SCALED[given["norm"]]

    def forward(self, images: Tensor, prefixes: Prefixes = None) -> Tensor:
        """Return features [B, D] in fp32; see `FrozenTrunk.forward`."""
        halves = {layer: prefix.half() for layer, prefix in (prefixes or {}).items()}
        features: Tensor = self.trunk(images, halves)
        return features.float()


def _scaled_rms_norm(x: Tensor, eps: float, halves: bool) -> Tensor:
    """Return `rms_norm` of tokens divided by their largest absolute value.

    The largest square is 1 then, and the mean of D at least 1 / D, beside which ``eps`` is nothing.
    """
    scaled = x * (x.abs().amax(dim=-1, keepdim=True) + _TINY).reciprocal()
    return scaled * torch.rsqrt((scaled * scaled).mean(dim=-1, keepdim=True))


def _scaled_layer_norm(x: Tensor, eps: float, halves: bool) -> Tensor:
    return _scaled_rms_norm(x - x.mean(dim=-1, keepdim=True), eps, halves)


_SCALED: dict[object, Callable[[Tensor, float, bool], Tensor]] = {
    rms_norm: _scaled_rms_norm,
    layer_norm: _scaled_layer_norm,
}
