"""A trunk traced in PyTorch's own operators computes what the trunk computes."""

import pytest
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from cbpnet.backbone.vit import Backbone
from quantize.aten_decompositions import ATEN_DECOMPOSITIONS
from quantize.static_int8 import StaticRecipe, calibrate, roundable, static_trunk
from quantize.trunk import FrozenTrunk


def _given() -> tuple[Tensor, Tensor]:
    return torch.randn(2, 3, 32, 32), torch.randn(1, 2, 5, 64)


@pytest.mark.parametrize("static", [False, True])
def test_no_operator_of_ours_is_left(trunk: FrozenTrunk, static: bool) -> None:
    images, prefix = _given()
    if static:
        ranges = calibrate(trunk, [images])
        names = roundable(trunk, layers_only=True)
        trunk = static_trunk(trunk, StaticRecipe({name: ranges[name] for name in names}))

    def call(images: Tensor, prefix: Tensor) -> Tensor:
        return trunk(images, {1: prefix})

    traced = make_fx(call, decomposition_table=ATEN_DECOMPOSITIONS)(*_given())
    operators = [str(node.target) for node in traced.graph.nodes if node.op == "call_function"]
    assert not [name for name in operators if "cbpnet" in name]
    assert operators.count("quantized_decomposed.quantize_per_tensor.default") == 13 * static
    with torch.no_grad():
        torch.testing.assert_close(traced(images, prefix), call(images, prefix))


def test_layers_that_round_at_run_time_are_refused(backbone: Backbone) -> None:
    trunk = FrozenTrunk(backbone, "int8")
    with pytest.raises(ValueError, match="rounds each token at run time has no plain form"):
        make_fx(trunk, decomposition_table=ATEN_DECOMPOSITIONS)(_given()[0])
