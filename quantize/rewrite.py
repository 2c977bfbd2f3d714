"""From our opaque operators to the patterns that XNNPACK's partitioner recognises.

`aten.linear` with a constant weight is an fp32 GEMM, and so is `aten.matmul`, the backward
direction's, which reads the same weight along its other axis. For an int8 GEMM the same stands
between quantise and dequantise operators: on the activation with scale and zero point chosen at run
time for each token, on the int8 weight with a constant scale for each of the product's channels.
"""

import operator
from collections.abc import Callable
from typing import Any

import torch
import torch.ao.quantization.fx._decomposed  # registers quantized_decomposed
from torch import Tensor
from torch.fx import GraphModule, Node

import quantize.operators  # noqa: F401  registers row_sum
from quantize.frozen_linear import INT8_MAX, INT8_MIN, LEAST_SCALE

__all__ = ["rewrite_frozen_operators"]

_ATEN, _TORCHAO, _OURS = torch.ops.aten, torch.ops.torchao, torch.ops.cbpnet
_LIMITS = (torch.int8, INT8_MIN, INT8_MAX)


def rewrite_frozen_operators(graph_module: GraphModule) -> int:
    """Rewrite a traced graph in place; return how many frozen linear layers it holds.

    Constants that no node uses any more are removed: they would be exported all the same.
    """
    graph = graph_module.graph
    rewrites: dict[Any, Callable[..., Node]] = {
        _OURS.frozen_linear.default: _linear,
        _OURS.frozen_linear_int8.default: _linear_int8,
        _OURS.frozen_linear_transposed.default: _matmul,
        _OURS.frozen_linear_transposed_int8.default: _matmul_int8,
        _OURS.row_sum.default: _row_sum,
    }
    constants = _Constants(graph_module)
    layers = 0
    for node in list(graph.nodes):
        if node.op != "call_function" or node.target not in rewrites:
            continue
        with graph.inserting_before(node):
            replacement = rewrites[node.target](constants, *node.args)
        replacement.meta["val"] = node.meta["val"]
        node.replace_all_uses_with(replacement)
        graph.erase_node(node)
        layers += node.target is not _OURS.row_sum.default
    for node in graph.find_nodes(op="call_function", target=_ATEN.detach.default):
        node.replace_all_uses_with(node.args[0])  # what autograd leaves behind; a copy on a device
    graph.eliminate_dead_code()
    used = {node.target for node in graph.nodes if node.op == "get_attr"}
    for name in [*dict(graph_module.named_buffers()), *dict(graph_module.named_parameters())]:
        if name not in used:
            delattr(graph_module, name)
    graph_module.recompile()
    return layers


class _Constants:
    """Adds constants to a graph module, each once."""

    def __init__(self, graph_module: GraphModule) -> None:
        self.graph_module = graph_module
        self.names: dict[Any, str] = {}

    def get(self, key: Any, value: Tensor) -> Node:
        if key not in self.names:
            self.names[key] = f"_frozen_constant{len(self.names)}"
            self.graph_module.register_buffer(self.names[key], value)
        return self.graph_module.graph.get_attr(self.names[key])

    def value(self, node: Node) -> Tensor:
        value: Tensor = getattr(self.graph_module, str(node.target))
        return value


def _linear(constants: _Constants, x: Node, weight: Node, bias: Node | None) -> Node:
    graph = constants.graph_module.graph
    return graph.call_function(_ATEN.linear.default, (x, weight, bias))


def _row_sum(constants: _Constants, x: Node, factor: float) -> Node:
    width = x.meta["val"].shape[-1]
    vector = constants.get((width, factor), torch.full((1, width), factor))
    return _linear(constants, x, vector, None)


def _matmul(constants: _Constants, x: Node, weight: Node) -> Node:
    return constants.graph_module.graph.call_function(_ATEN.matmul.default, (x, weight))


def _linear_int8(
    constants: _Constants, x: Node, weight: Node, scale: Node, bias: Node | None
) -> Node:
    channels, width = constants.value(weight).shape
    zero = constants.get(("zero", channels), torch.zeros(channels, dtype=torch.int32))
    dequantised = constants.graph_module.graph.call_function(
        _TORCHAO.dequantize_affine.default, (weight, [1, width], scale, zero, *_LIMITS)
    )
    return _linear(constants, _rounded(constants, x), dequantised, bias)


def _matmul_int8(constants: _Constants, x: Node, weight: Node) -> Node:
    channels = constants.value(weight).shape[1]
    scale = constants.get(("one", channels), torch.ones(channels))
    zero = constants.get(("zero", channels), torch.zeros(channels, dtype=torch.int32))
    # Not torchao's operator: of that one XNNPACK takes every scale for one of the first axis.
    dequantised = constants.graph_module.graph.call_function(
        torch.ops.quantized_decomposed.dequantize_per_channel.default,
        (weight, scale, zero, 1, INT8_MIN, INT8_MAX, torch.int8),
    )
    return _matmul(constants, _rounded(constants, x), dequantised)


def _rounded(constants: _Constants, x: Node) -> Node:
    """Return the values that x is rounded to, token by token."""
    graph = constants.graph_module.graph
    shape = x.meta["val"].shape
    block = [1] * (len(shape) - 1) + [shape[-1]]
    chosen = graph.call_function(
        _TORCHAO.choose_qparams_affine.default,
        (x, "ASYMMETRIC", block, *_LIMITS, LEAST_SCALE, torch.float32, torch.int32),
    )
    scale = graph.call_function(operator.getitem, (chosen, 0))
    zero = graph.call_function(operator.getitem, (chosen, 1))
    rounded = graph.call_function(
        _TORCHAO.quantize_affine.default, (x, block, scale, zero, *_LIMITS)
    )
    return graph.call_function(
        _TORCHAO.dequantize_affine.default, (rounded, block, scale, zero, *_LIMITS)
    )
