"""Weights in int8 and nothing else."""

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from quantize.aten_decompositions import ATEN_DECOMPOSITIONS
from quantize.trunk import FrozenTrunk
from quantize.weight_only import round_weights


@pytest.mark.parametrize("marked", [True, False])
def test_weights_are_rounded_and_activations_are_not(trunk: FrozenTrunk, marked: bool) -> None:
    """What is left is the trunk with weights that are multiples of a 127th of a row's largest."""
    images, prefix = torch.randn(2, 3, 32, 32), {1: torch.randn(1, 2, 5, 64)}
    exact = trunk(images, prefix)
    found = round_weights(trunk, marked)(images, prefix)
    assert trunk(images, prefix).equal(exact)  # the given trunk is left as it was
    for layer in trunk.layers.values():
        step = layer.weight.abs().amax(dim=1, keepdim=True) / 127
        layer.weight = (layer.weight / step).round() * step
    torch.testing.assert_close(found, trunk(images, prefix), atol=1e-5, rtol=1e-4)
    assert not found.equal(exact)
    assert torch.cosine_similarity(found, exact).min() > 0.99


def test_traced_its_weights_stay_int8(trunk: FrozenTrunk) -> None:
    traced = make_fx(round_weights(trunk), ATEN_DECOMPOSITIONS)(torch.randn(2, 3, 32, 32))
    given = [
        getattr(traced, node.args[0].target)
        for node in traced.graph.nodes
        if "dequantize_per_channel" in str(node.target)
    ]
    assert [weight.shape for weight in given] == [
        layer.weight.shape for layer in trunk.layers.values()
    ]
    assert {weight.dtype for weight in given} == {torch.int8}
