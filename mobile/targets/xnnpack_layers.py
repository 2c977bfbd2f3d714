"""Our frozen linear layers in XNNPACK's graph.

ExecuTorch's exporter knows an int8 layer as a pattern of six operators around `aten.linear`, each
of which it interprets dozens of times. Here the layer stays one operator up to XNNPACK's graph.

Both directions are the same fully connected layer on the same bytes: with a flag XNNPACK reads a
weight [in, out]. Going backwards no scale is left for its channels: the gradient is multiplied by
the scales first.
"""

from collections.abc import Sequence
from typing import Any

import torch
from executorch.backends.xnnpack.operators.node_visitor import (
    NodeVisitor,
    get_tensor_value,
    register_node_visitor,
)
from executorch.backends.xnnpack.operators.quant_params import QuantParams
from executorch.backends.xnnpack.partition.config.xnnpack_config import (
    ConfigPrecisionType,
    XNNPartitionerConfig,
)
from executorch.backends.xnnpack.serialization.xnnpack_graph_schema import (
    PerTokenDynamicQuant,
    XNNConvert,
    XNNDatatype,
    XNNFullyConnected,
    XNNGraph,
    XNNMultiply,
    XNNQuantizedTensorValue,
    XNNTensorValue,
    XNode,
    XValue,
)
from executorch.backends.xnnpack.serialization.xnnpack_graph_serialize import (
    CONSTANT_TENSOR_ALIGNMENT,
)
from executorch.backends.xnnpack.utils.utils import get_param_tensor, is_param_node
from executorch.backends.xnnpack.utils.xnnpack_constants import (
    XNN_FLAG_TRANSPOSE_WEIGHTS,
    XNN_INVALID_VALUE_ID,
)
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import Node

from quantize.frozen_linear import INT8_MAX, INT8_MIN

__all__ = ["FrozenLinearConfig", "FrozenLinearTransposedConfig"]

Ids = dict[Node, int]


class FrozenLinearConfig(XNNPartitionerConfig):  # type: ignore[misc]  # executorch has no types
    """Takes a frozen layer with its constants."""

    target_name = "frozen_linear.default"

    def supported_precision_types(self) -> list[ConfigPrecisionType]:
        """Return what the base class asks for; a layer's precision is that of its weight."""
        return [ConfigPrecisionType.FP32]

    def check_constraints(self, node: Node, ep: ExportedProgram) -> bool:
        """Return whether all but the first input are constants."""
        return all(is_param_node(ep, constant) for constant in node.all_input_nodes[1:])

    def get_node_and_deps(self, node: Node, ep: ExportedProgram) -> list[Node]:
        """Return the node and the constants that go into the delegate with it."""
        return [node, *node.all_input_nodes[1:]]


class FrozenLinearTransposedConfig(FrozenLinearConfig):
    """Takes a frozen layer's backward direction with its weight.

    Not with its scale: a runtime with XNNPACK's cache of packed weights, as Android's, frees a
    delegate's constants once they are packed, and a product does not pack what it reads.
    """

    target_name = "frozen_linear_transposed.default"

    def get_node_and_deps(self, node: Node, ep: ExportedProgram) -> list[Node]:
        """Return the node and its weight; the scale becomes an input of the delegate."""
        return [node, *node.all_input_nodes[1:2]]


@register_node_visitor
class _FrozenLinearVisitor(NodeVisitor):  # type: ignore[misc]
    target = "cbpnet.frozen_linear.default"

    def define_node(self, node: Node, xnn_graph: XNNGraph, vals_to_ids: Ids, handle: int) -> None:
        """Add ``x W^T + b`` to XNNPACK's graph."""
        arguments: Any = node.args
        x, weight, scale, bias = arguments
        graph = _Graph(self, xnn_graph, vals_to_ids, handle)
        given = graph.tensor(x)
        if scale is None:
            filters = graph.tensor(weight)
        else:
            given = graph.rounded(given, _shape(x))
            filters = graph.int8_weight(weight, get_param_tensor(self.exported_program, scale), 0)
        biases = XNN_INVALID_VALUE_ID if bias is None else graph.tensor(bias)
        graph.layer(given, filters, biases, graph.tensor(node), flags=0)


@register_node_visitor
class _FrozenLinearTransposedVisitor(NodeVisitor):  # type: ignore[misc]
    target = "cbpnet.frozen_linear_transposed.default"

    def define_node(self, node: Node, xnn_graph: XNNGraph, vals_to_ids: Ids, handle: int) -> None:
        """Add ``(x scale) W`` to XNNPACK's graph."""
        arguments: Any = node.args
        x, weight, scale = arguments
        graph = _Graph(self, xnn_graph, vals_to_ids, handle)
        given = graph.tensor(x)
        if scale is None:
            filters = graph.tensor(weight)
        else:
            given = graph.rounded(graph.scaled(given, graph.tensor(scale), _shape(x)), _shape(x))
            filters = graph.int8_weight(weight, torch.ones(_shape(weight)[1]), 1)
        graph.rename_constant(filters, "transposed_")
        output = graph.tensor(node)
        graph.layer(given, filters, XNN_INVALID_VALUE_ID, output, XNN_FLAG_TRANSPOSE_WEIGHTS)


class _Graph:
    """XNNPACK's graph, to which a visitor adds the values and operators of one node.

    Values are named by their numbers.
    """

    def __init__(self, visitor: NodeVisitor, graph: XNNGraph, ids: Ids, handle: int) -> None:
        self.visitor, self.graph, self.ids, self.handle = visitor, graph, ids, handle

    def tensor(self, node: Node, quant_params: QuantParams | None = None) -> int:
        """Return the value that a node stands for."""
        self.visitor.define_tensor(node, self.graph, self.ids, quant_params=quant_params)
        return self.ids[node]

    def int8_weight(self, weight: Node, scale: Tensor, axis: int) -> int:
        """Return the value of an int8 weight whose channels lie along an axis."""
        zero = torch.zeros(len(scale), dtype=torch.int32)
        params = QuantParams(
            per_channel=True,
            q_input=weight,
            scale=scale,
            zp=zero,
            axis=axis,
            dtype=torch.int8,
            qmax=INT8_MAX,
            qmin=INT8_MIN,
            is_output=False,
            is_input=False,
        )
        return self.tensor(weight, params)

    def rename_constant(self, value: int, prefix: str) -> None:
        """Give a constant's bytes, which lie in the file once, another name.

        A runtime with a cache of packed weights finds them by name, and packs the directions apart.
        """
        index = get_tensor_value(self.graph.xvalues[value]).constant_buffer_idx
        constant, store = self.graph.constant_data[index], self.visitor._named_data_store
        data = store.buffers[store.key_to_buffer_idx[constant.named_key]]
        constant.named_key = prefix + constant.named_key
        store.add_named_data(constant.named_key, data, CONSTANT_TENSOR_ALIGNMENT)

    def scaled(self, x: int, scale: int, shape: Sequence[int]) -> int:
        """Add a multiplication, and return the product's value."""
        product = self._inner(_inner_value(self.graph, XNNDatatype.xnn_datatype_fp32, shape))
        self._add(XNNMultiply(input1_id=x, input2_id=scale, output_id=product, flags=0))
        return product

    def rounded(self, x: int, shape: Sequence[int]) -> int:
        """Add the rounding of each token to int8, and return the rounded value."""
        value = _inner_value(self.graph, XNNDatatype.xnn_datatype_qdint8, shape)
        rounded = self._inner(XNNQuantizedTensorValue(value, PerTokenDynamicQuant(1)))
        self._add(XNNConvert(input_id=x, output_id=rounded, flags=0))
        return rounded

    def layer(self, x: int, weight: int, bias: int, output: int, flags: int) -> None:
        """Add a fully connected layer."""
        self._add(
            XNNFullyConnected(
                input1_id=x, filter_id=weight, bias_id=bias, output_id=output, flags=flags
            )
        )

    def _inner(self, value: XNNTensorValue | XNNQuantizedTensorValue) -> int:
        self.graph.xvalues.append(XValue(xvalue_union=value))
        return len(self.graph.xvalues) - 1

    def _add(self, operator: object) -> None:
        self.graph.xnodes.append(XNode(xnode_union=operator, debug_handle=self.handle))


def _inner_value(graph: XNNGraph, datatype: XNNDatatype, shape: Sequence[int]) -> XNNTensorValue:
    """Return a value that only the graph's own operators read and write."""
    return XNNTensorValue(
        datatype=datatype,
        num_dims=len(shape),
        dims=list(shape),
        constant_buffer_idx=0,
        external_id=XNN_INVALID_VALUE_ID,
        flags=0,
        id_out=len(graph.xvalues),
    )


def _shape(node: Node) -> torch.Size:
    shape: torch.Size = node.meta["val"].shape
    return shape
