"""ARM and x86 CPUs through XNNPACK: int8 or fp32 GEMMs in both directions."""

import torch
from executorch.backends.xnnpack.partition import config as configs
from executorch.backends.xnnpack.partition.config.xnnpack_config import XNNPartitionerConfig
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.backends.xnnpack.xnnpack_preprocess import XnnpackBackend
from executorch.exir.backend.compile_spec_schema import CompileSpec
from executorch.exir.backend.partitioner import DelegationSpec, Partitioner
from torch.export import ExportedProgram
from torch.fx import Node
from torch.fx.passes.infra.partitioner import Partition

from mobile.targets import backend
from mobile.targets.xnnpack_halves import HalvedConfig, RestoredConfig
from mobile.targets.xnnpack_layers import FrozenLinearConfig, FrozenLinearTransposedConfig
from mobile.targets.xnnpack_partitions import keep_fewer_bytes, make_fewer_calls

__all__ = ["Backend"]

# What the trunk is written in. Of the rest, AddmmConfig and MMConfig would search the whole graph
# again for each node, and could bake a trainable into a delegate.
_CONFIGS: list[type[XNNPartitionerConfig]] = [
    configs.AddConfig,
    configs.BMMConfig,
    configs.CatConfig,
    configs.CloneConfig,
    configs.ConstantPadConfig,
    configs.DivConfig,
    configs.ExpConfig,
    configs.GeluConfig,
    configs.MulConfig,
    configs.PermuteConfig,
    configs.ReciprocalSquareRootConfig,
    configs.SigmoidConfig,
    configs.SliceCopyConfig,
    configs.SoftmaxConfig,
    configs.SubConfig,
    configs.ViewCopyConfig,
    FrozenLinearConfig,
    FrozenLinearTransposedConfig,
    HalvedConfig,
    RestoredConfig,
]


class _TrunkPartitioner(XnnpackPartitioner):  # type: ignore[misc]  # executorch has no types
    """Takes the parts of a graph that hold a frozen layer, and leaves crumbs to the CPU kernels.

    A delegate call for a handful of additions costs more than the additions, and every partition
    costs seconds at export.
    """

    def __init__(self) -> None:
        super().__init__(configs=_CONFIGS)
        # Of XNNPACK's seventeen passes, each of which interprets the graph and none of which our
        # graphs need, this leaves one that finds nothing to do.
        self.delegation_spec = DelegationSpec(
            XnnpackBackend.__name__, [CompileSpec("dqlinear_partitioner", b"")]
        )

    def ops_to_not_decompose(self, ep: ExportedProgram) -> tuple[list[torch._ops.OpOverload], None]:
        """Return the operators to be kept whole: all of them, so that none is asked about."""
        return super().ops_to_not_decompose(ep)[0], None

    def generate_partitions(self, ep: ExportedProgram) -> list[Partition]:
        """Return the partitions with a frozen layer in them."""
        taken = make_fewer_calls(super().generate_partitions(ep), _is_frozen_layer)
        keep_fewer_bytes(taken)
        return taken


def _is_frozen_layer(node: Node) -> bool:
    return node.op == "call_function" and "cbpnet.frozen_linear" in str(node.target)


class Backend(backend.Backend):
    """XNNPACK, which has no options."""

    def partitioner(self) -> Partitioner:
        """Return a partitioner that takes what is around frozen layers."""
        return _TrunkPartitioner()
