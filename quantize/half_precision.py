"""The forward pass in half precision, for accelerators that have no other."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from torch import Tensor, nn

from quantize.operators import EXACT
from quantize.scaled_norm import scaled_layer_norm, scaled_rms_norm
from quantize.static_int8 import Prefixes
from quantize.trunk import FrozenTrunk

__all__ = ["HalfPrecisionTrunk"]

# Beside a token's largest absolute value, and a normal number in half precision.
_GUARD = 1e-4

_HALF_PRECISION = replace(
    EXACT,
    layer_norm=partial(scaled_layer_norm, guard=_GUARD),
    rms_norm=partial(scaled_rms_norm, guard=_GUARD),
)


class HalfPrecisionTrunk(nn.Module):
    """Computes a trunk's features in half precision, from images and prefixes in fp32.

    Only patches are padded and get their positions in fp32. Run in PyTorch it simulates an
    accelerator, which may round sums otherwise; traced, it is what a target lowers. Forward only.

    Attributes:
        dim: width D of the features.
        logits: see `FrozenTrunk`.
    """

    logits: int

    def __init__(self, trunk: FrozenTrunk) -> None:
        super().__init__()
        self.dim, self.logits = trunk.dim, trunk.logits
        self.trunk = trunk.with_operators(_HALF_PRECISION).half()
        self.trunk.position = trunk.position
        self.trunk.patch_embed.register_forward_pre_hook(lambda _, inputs: (inputs[0].half(),))
        self.trunk.patch_embed.register_forward_hook(lambda _, inputs, output: output.float())
        self.trunk.embedding.register_forward_hook(lambda _, inputs, output: output.half())

    def forward(self, images: Tensor, prefixes: Prefixes = None) -> Tensor:
        """Return features [B, D] in fp32; see `FrozenTrunk.forward`."""
        return self.parts(images, prefixes, ("pooled",))[0]

    def parts(self, images: Tensor, prefixes: Prefixes, names: Sequence[str]) -> list[Tensor]:
        """Return several features [B, d] in fp32; see `FrozenTrunk.parts`."""
        halves = {layer: prefix.half() for layer, prefix in (prefixes or {}).items()}
        return [part.float() for part in self.trunk.parts(images, halves, names)]
