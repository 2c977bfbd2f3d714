"""A trunk in half precision computes what it computes in fp32, massive activations included."""

import pytest
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from quantize.aten_decompositions import ATEN_DECOMPOSITIONS
from quantize.half_precision import HalfPrecisionTrunk
from quantize.trunk import FrozenTrunk
from quantize.weight_only import round_weights

MASSIVE = 565.0  # what a pretrained ViT-Ti has in one channel of some tokens; its square is 3e5


@pytest.fixture
def images() -> Tensor:
    return torch.randn(4, 3, 32, 32)


def _stream(trunk: FrozenTrunk, height: float) -> FrozenTrunk:
    """Return the trunk with one channel of one patch's token raised to a height."""
    trunk.position[0, 3, 7] = height
    return trunk


@pytest.mark.parametrize("height", [0.0, MASSIVE])
def test_features_are_those_of_fp32(trunk: FrozenTrunk, images: Tensor, height: float) -> None:
    trunk, prefix = _stream(trunk, height), {1: torch.randn(1, 2, 5, 64)}
    for prefixes in (None, prefix):
        found, expected = HalfPrecisionTrunk(trunk)(images, prefixes), trunk(images, prefixes)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, expected, atol=0.05, rtol=0.02)
        assert torch.cosine_similarity(found, expected).min() > 0.9999


def test_a_trunk_that_is_merely_cast_loses_the_massive_token(
    trunk: FrozenTrunk, images: Tensor
) -> None:
    """What is scaled in a norm is not idle: a square of 3e5 is infinite, and its token is zero."""
    trunk = _stream(trunk, MASSIVE)
    expected, found = trunk(images), trunk.half()(images.half()).float()
    assert torch.cosine_similarity(found, expected).min() < 0.999


@pytest.mark.parametrize("rounded", [False, True])
def test_all_but_the_embedding_is_half(trunk: FrozenTrunk, images: Tensor, rounded: bool) -> None:
    given = round_weights(trunk) if rounded else trunk
    half = HalfPrecisionTrunk(given)
    traced = make_fx(half, ATEN_DECOMPOSITIONS)(images)
    wide = [
        str(node.target).split(".")[1]
        for node in traced.graph.nodes
        if node.op == "call_function" and node.meta["val"].dtype == torch.float32
    ]
    computing = [name for name in wide if name not in ("view", "permute", "clone", "_unsafe_view")]
    assert computing == ["_to_copy", "constant_pad_nd", "add", "_to_copy"]
    assert given.layers["blocks.0.fc1"].bias.dtype == torch.float32  # left as it was
    found, expected = half(images), given(images)
    torch.testing.assert_close(found, expected, atol=0.05, rtol=0.02)
