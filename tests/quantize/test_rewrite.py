"""A traced learning step before and after the rewriting: the same numbers, other operators."""

import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx

from cbpnet.backbone.torchvision_compat import import_timm
from cbpnet.backbone.vit import Backbone
from quantize.frozen_linear import FrozenLinear, Precision
from quantize.operators import layer_norm
from quantize.rewrite import rewrite_frozen_operators
from quantize.trunk import FrozenTrunk

timm = import_timm()

MICRO = "vit_micro_patch8_32"
GENERATOR = torch.Generator().manual_seed(0)
INPUTS = tuple(torch.randn(shape, generator=GENERATOR) for shape in ((2, 3, 32, 32), (1, 2, 5, 64)))


def _gradient_of(trunk: FrozenTrunk) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    def gradient(images: Tensor, prefix: Tensor) -> tuple[Tensor, Tensor]:
        prefix = prefix.detach().requires_grad_()
        features = trunk(images, {1: prefix})
        # Not a sum of squares, which a layer norm's outputs always share.
        return features, torch.autograd.grad(features.sin().sum(), prefix)[0]

    return gradient


def _traced(precision: Precision, kept: tuple[str, ...] = ()) -> tuple[Any, GraphModule]:
    backbone = Backbone(MICRO, timm.create_model(MICRO, depth=3))
    step = _gradient_of(FrozenTrunk(backbone, precision, kept))
    return step, make_fx(step)(*INPUTS)


def _operators(graph_module: GraphModule) -> Counter[str]:
    return Counter(str(n.target) for n in graph_module.graph.nodes if n.op == "call_function")


# Forward: the patches', and four in each of 3 layers. Backward from the features to layer 1's
# attention: layer 2's four, and of layer 1 all but qkv.
FORWARD, BACKWARD = 1 + 3 * 4, 4 + 3


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_rewritten_step_gives_the_same_numbers(precision: Precision) -> None:
    step, graph_module = _traced(precision)
    layers = rewrite_frozen_operators(graph_module)
    assert layers == FORWARD + BACKWARD
    other = (torch.randn_like(INPUTS[0]), torch.randn_like(INPUTS[1]))
    for found, expected in zip(graph_module(*other), step(*other), strict=True):
        # A sum in another order may send a value to the next of 255 steps.
        tolerance = {"fp32": 1e-5, "int8": 2e-2}[precision]
        bound = tolerance * expected.abs().max().item()
        torch.testing.assert_close(found, expected, atol=bound, rtol=tolerance)


def test_sums_become_layers_and_each_layer_stays_one_operator() -> None:
    _, graph_module = _traced("int8", ("patch_embed", "blocks.0.qkv"))
    sums = _operators(graph_module)["cbpnet.row_sum.default"]
    assert sums > 0
    rewrite_frozen_operators(graph_module)
    found = _operators(graph_module)
    assert found["cbpnet.frozen_linear.default"] == FORWARD + sums
    assert found["cbpnet.frozen_linear_transposed.default"] == BACKWARD
    assert not any("row_sum" in name or "torchao" in name for name in found)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_no_constant_is_left_unused_and_each_weight_is_held_once(precision: Precision) -> None:
    _, graph_module = _traced(precision)
    graph_module.register_buffer("stray", torch.zeros(3))
    rewrite_frozen_operators(graph_module)
    used = {node.target for node in graph_module.graph.nodes if node.op == "get_attr"}
    held = dict(graph_module.named_buffers()) | dict(graph_module.named_parameters())
    assert held.keys() == used
    # The vectors that sum over a token's width and over the keys, in scale 1/64 and 1.
    vectors = [tuple(v.shape) for name, v in held.items() if name.startswith("_frozen_constant")]
    assert vectors.count((1, 64)) == 1
    once = {value.data_ptr(): value for value in held.values()}.values()
    floats = sum(v.numel() for v in once if v.dtype == torch.float32 and v.dim() == 2)
    weights = sum(v.numel() for v in once if v.dtype == torch.int8)
    trunk = 3 * (4 * 64 * 64 + 2 * 64 * 128) + 3 * 8 * 8 * 64
    vectors_and_position = 1000 + 17 * 64
    if precision == "int8":
        assert weights == trunk
        assert floats < vectors_and_position
    else:
        assert weights == 0
        assert trunk <= floats < trunk + vectors_and_position


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_forward_and_backward_name_the_same_values_apart(precision: Precision) -> None:
    _, graph_module = _traced(precision)
    rewrite_frozen_operators(graph_module)
    names = {True: set(), False: set()}  # type: dict[bool, set[str]]
    for node in graph_module.graph.nodes:
        if "frozen_linear" in str(node.target):
            constants = [source.target for source in node.args[1:] if source is not None]
            names["transposed" in str(node.target)].update(constants)
    assert not names[True] & names[False]
    values = {name: getattr(graph_module, name) for name in names[True] | names[False]}
    forward = {values[name].data_ptr() for name in names[False]}
    assert all(values[name].data_ptr() in forward for name in names[True])


def test_autograds_detach_is_gone() -> None:
    _, graph_module = _traced("int8")
    assert _operators(graph_module)["aten.detach.default"] > 0
    rewrite_frozen_operators(graph_module)
    assert _operators(graph_module)["aten.detach.default"] == 0


def test_the_gradient_reaches_inputs_before_a_frozen_layer() -> None:
    layer = FrozenLinear(torch.randn(4, 6), None, "fp32")

    def gradient(x: Tensor) -> Tensor:
        x = x.detach().requires_grad_()
        return torch.autograd.grad(layer(layer_norm(x, 1e-6)).square().sum(), x)[0]

    graph_module = make_fx(gradient)(torch.randn(3, 6))
    assert rewrite_frozen_operators(graph_module) == 2
    x = torch.randn(3, 6)
    torch.testing.assert_close(graph_module(x), gradient(x))


def test_a_rewritten_step_can_be_exported() -> None:
    _, graph_module = _traced("int8")
    rewrite_frozen_operators(graph_module)
    program = torch.export.export(graph_module, INPUTS, strict=False)
    for found, expected in zip(program.module()(*INPUTS), graph_module(*INPUTS), strict=True):
        torch.testing.assert_close(found, expected)


def test_a_graph_without_frozen_layers_is_left_alone() -> None:
    graph_module = make_fx(lambda x: x * 2 + 1)(torch.zeros(3))
    before = _operators(graph_module)
    assert rewrite_frozen_operators(graph_module) == 0
    assert _operators(graph_module) == before


def test_the_module_registers_all_that_it_rewrites() -> None:
    script = "import torch, quantize.rewrite; torch.ops.cbpnet.row_sum.default"
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
