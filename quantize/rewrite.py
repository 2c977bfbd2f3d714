"""A traced graph in the form in which a target takes it: frozen layers, and little else."""

from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

import quantize.frozen_linear
import quantize.operators  # noqa: F401  registers row_sum

__all__ = ["rewrite_frozen_operators"]

_ATEN, _OURS = torch.ops.aten, torch.ops.cbpnet


def rewrite_frozen_operators(graph_module: GraphModule) -> int:
    """Rewrite a traced graph in place; return how many frozen linear layers it holds.

    Sums along a row become layers with a constant vector; they are not counted. Constants that no
    node uses any more are removed: they would be exported all the same.
    """
    graph = graph_module.graph
    constants = _Constants(graph_module)
    layers = len(_nodes(graph_module, _OURS.frozen_linear.default))
    for node in _nodes(graph_module, _OURS.frozen_linear_transposed.default):
        layers += 1
        with graph.inserting_before(node):
            node.args = (node.args[0], *(constants.alias(source) for source in node.args[1:]))
    for node in _nodes(graph_module, _OURS.row_sum.default):
        arguments: Any = node.args
        x, factor = arguments
        width = x.meta["val"].shape[-1]
        with graph.inserting_before(node):
            vector = constants.get((width, factor), torch.full((1, width), factor))
            layer = graph.call_function(_OURS.frozen_linear.default, (x, vector, None, None))
        layer.meta["val"] = node.meta["val"]
        node.replace_all_uses_with(layer)
    for node in _nodes(graph_module, _ATEN.detach.default):
        # what autograd leaves behind; a copy on a device
        node.replace_all_uses_with(node.all_input_nodes[0])
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

    def alias(self, source: Any) -> Node | None:
        """Return a constant's values under a name for the backward pass alone.

        Of constants that lie in two delegates an exporter makes copies, one after the other, with
        a new compilation of the graph for each.
        """
        if source is None:
            return None
        value: Tensor = getattr(self.graph_module, source.target)
        return self.get(("backward", source.target), value.detach())


def _nodes(graph_module: GraphModule, target: Any) -> list[Node]:
    return list(graph_module.graph.find_nodes(op="call_function", target=target))
