"""ARM and x86 CPUs through XNNPACK: int8 or fp32 GEMMs in both directions."""

from executorch.backends.xnnpack.partition import config as configs
from executorch.backends.xnnpack.partition.config.xnnpack_config import XNNPartitionerConfig
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from torch.export import ExportedProgram
from torch.fx import Node
from torch.fx.passes.infra.partitioner import Partition

__all__ = ["TrunkPartitioner"]

# What the trunk is written in. Of the rest, AddmmConfig and MMConfig would search the whole graph
# again for each node, and could bake a trainable into a delegate.
_CONFIGS: list[type[XNNPartitionerConfig]] = [
    configs.AddConfig,
    configs.BMMConfig,
    configs.CatConfig,
    configs.CloneDimOrderConfig,
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
]


class TrunkPartitioner(XnnpackPartitioner):
    """Takes the parts of a graph that hold a frozen layer, and leaves crumbs to the CPU kernels.

    A delegate call for a handful of additions costs more than the additions, and every partition
    costs seconds at export.
    """

    def __init__(self) -> None:
        super().__init__(configs=_CONFIGS)

    def generate_partitions(self, ep: ExportedProgram) -> list[Partition]:
        """Return the partitions with a linear layer in them."""
        found = super().generate_partitions(ep)
        return [part for part in found if any(_is_linear(node) for node in part.nodes)]


def _is_linear(node: Node) -> bool:
    return node.op == "call_function" and "aten.linear" in str(node.target)
