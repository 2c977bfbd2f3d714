"""ARM and x86 CPUs through XNNPACK: int8 or fp32 GEMMs in both directions.

The backward direction's GEMM is the same operator on the same weight, with the flag by which
XNNPACK reads a weight as [in, out]: so a file holds each weight once. ExecuTorch serialises the
flag for 2-d products with one scale a weight only; `_TransposedVisitor` does so for ours.
"""

import torch
from executorch.backends.xnnpack.operators.node_visitor import NodeVisitor, register_node_visitor
from executorch.backends.xnnpack.operators.quant_params import QuantParams
from executorch.backends.xnnpack.partition import config as configs
from executorch.backends.xnnpack.partition.config.xnnpack_config import XNNPartitionerConfig
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.backends.xnnpack.serialization.xnnpack_graph_schema import (
    XNNFullyConnected,
    XNNGraph,
    XNode,
)
from executorch.backends.xnnpack.utils.xnnpack_constants import (
    XNN_FLAG_TRANSPOSE_WEIGHTS,
    XNN_INVALID_VALUE_ID,
)
from executorch.backends.xnnpack.xnnpack_preprocess import XnnpackBackend
from executorch.exir.backend.compile_spec_schema import CompileSpec
from executorch.exir.backend.partitioner import DelegationSpec, Partitioner
from torch.export import ExportedProgram
from torch.fx import Node
from torch.fx.passes.infra.partitioner import Partition

__all__ = ["partitioner"]


class _TransposedConfig(configs.LinearConfig):  # type: ignore[misc]  # executorch has no types
    """Takes `aten.matmul` with a constant weight [in, out], as its base takes `aten.linear`."""

    target_name = "matmul.default"

    def get_original_aten(self) -> torch._ops.OpOverload:
        """Return the operator that is to be kept whole until it is partitioned."""
        return torch.ops.aten.matmul.default


@register_node_visitor
class _TransposedVisitor(NodeVisitor):  # type: ignore[misc]
    """Serialises `aten.matmul` with a constant weight as a layer whose weight is [in, out]."""

    target = "aten.matmul.default"

    def define_node(
        self, node: Node, xnn_graph: XNNGraph, vals_to_ids: dict[Node, int], debug_handle: int
    ) -> None:
        """Add the node and its tensors to XNNPACK's graph."""
        x, weight = node.all_input_nodes
        rounded = QuantParams.from_inputs(x, self.exported_program)
        self.define_tensor(x, xnn_graph, vals_to_ids, quant_params=rounded)
        scales = QuantParams.from_weights(weight, self.exported_program)
        if scales is not None:
            # The forward pass may have defined the same bytes, with scales along the other axis.
            vals_to_ids.pop(scales.q_input, None)
        self.define_tensor(weight, xnn_graph, vals_to_ids, quant_params=scales)
        self.define_tensor(node, xnn_graph, vals_to_ids)
        layer = XNNFullyConnected(
            input1_id=vals_to_ids[x],
            filter_id=vals_to_ids[weight],
            bias_id=XNN_INVALID_VALUE_ID,
            output_id=vals_to_ids[node],
            flags=XNN_FLAG_TRANSPOSE_WEIGHTS,
        )
        xnn_graph.xnodes.append(XNode(xnode_union=layer, debug_handle=debug_handle))


# What the trunk is written in. Of the rest, AddmmConfig and MMConfig would search the whole graph
# again for each node, and could bake a trainable into a delegate.
_CONFIGS: list[type[XNNPartitionerConfig]] = [
    configs.AddConfig,
    configs.BMMConfig,
    configs.CatConfig,
    configs.CloneConfig,
    configs.ChooseQParamsAffineConfig,
    configs.ConstantPadConfig,
    configs.DeQuantizeAffineConfig,
    configs.DivConfig,
    configs.ExpConfig,
    configs.GeluConfig,
    configs.LinearConfig,
    configs.MulConfig,
    configs.PermuteConfig,
    configs.QuantizeAffineConfig,
    configs.ReciprocalSquareRootConfig,
    configs.SliceCopyConfig,
    configs.SoftmaxConfig,
    configs.SubConfig,
    configs.ViewCopyConfig,
    _TransposedConfig,
]


class _TrunkPartitioner(XnnpackPartitioner):  # type: ignore[misc]  # executorch has no types
    """Takes the parts of a graph that hold a frozen layer, and leaves crumbs to the CPU kernels.

    A delegate call for a handful of additions costs more than the additions, and every partition
    costs seconds at export.
    """

    def __init__(self) -> None:
        super().__init__(configs=_CONFIGS)
        # Of XNNPACK's seventeen passes, each of which interprets the graph, this leaves the one
        # that our graphs need something of.
        self.delegation_spec = DelegationSpec(
            XnnpackBackend.__name__, [CompileSpec("dqlinear_partitioner", b"")]
        )

    def ops_to_not_decompose(self, ep: ExportedProgram) -> tuple[list[torch._ops.OpOverload], None]:
        """Return the operators to be kept whole: all of them, so that none is asked about."""
        return super().ops_to_not_decompose(ep)[0], None

    def generate_partitions(self, ep: ExportedProgram) -> list[Partition]:
        """Return the partitions with a linear layer in them."""
        found = super().generate_partitions(ep)
        return [part for part in found if any(_is_linear(node) for node in part.nodes)]


def _is_linear(node: Node) -> bool:
    return node.op == "call_function" and any(
        name in str(node.target) for name in ("aten.linear", "aten.matmul")
    )


def partitioner() -> Partitioner:
    """Return the partitioner for one method."""
    return _TrunkPartitioner()
