"""What is kept for the backward pass, in half precision, in XNNPACK's graph."""

from executorch.backends.xnnpack.operators.node_visitor import NodeVisitor, register_node_visitor
from executorch.backends.xnnpack.partition.config.xnnpack_config import (
    ConfigPrecisionType,
    XNNPartitionerConfig,
)
from executorch.backends.xnnpack.serialization.xnnpack_graph_schema import (
    XNNConvert,
    XNNGraph,
    XNode,
)
from torch.export import ExportedProgram
from torch.fx import Node

__all__ = ["HalvedConfig", "RestoredConfig"]


class HalvedConfig(XNNPartitionerConfig):  # type: ignore[misc]  # executorch has no types
    """Takes the conversion from fp32."""

    target_name = "halved.default"

    def supported_precision_types(self) -> list[ConfigPrecisionType]:
        """Return what the base class asks for."""
        return [ConfigPrecisionType.FP32]

    def check_constraints(self, node: Node, ep: ExportedProgram) -> bool:
        """Return that there are none."""
        return True

    def get_node_and_deps(self, node: Node, ep: ExportedProgram) -> list[Node]:
        """Return the node alone."""
        return [node]


class RestoredConfig(HalvedConfig):
    """Takes the conversion to fp32."""

    target_name = "restored.default"


class _Conversion(NodeVisitor):  # type: ignore[misc]
    def define_node(
        self, node: Node, xnn_graph: XNNGraph, vals_to_ids: dict[Node, int], handle: int
    ) -> None:
        """Add a conversion to XNNPACK's graph."""
        (given,) = node.all_input_nodes
        for each in (given, node):
            self.define_tensor(each, xnn_graph, vals_to_ids)
        conversion = XNNConvert(input_id=vals_to_ids[given], output_id=vals_to_ids[node], flags=0)
        xnn_graph.xnodes.append(XNode(xnode_union=conversion, debug_handle=handle))


@register_node_visitor
class _HalvedVisitor(_Conversion):
    target = "cbpnet.halved.default"


@register_node_visitor
class _RestoredVisitor(_Conversion):
    target = "cbpnet.restored.default"
