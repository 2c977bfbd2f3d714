"""GPUs through Vulkan: the forward pass in fp32."""

from collections.abc import Sequence

from executorch.backends.vulkan.partitioner.vulkan_partitioner import VulkanPartitioner
from executorch.exir.backend.partitioner import Partitioner
from torch import Tensor

from cbpnet.method.learner import FeatureExtractor
from mobile.targets import backend
from quantize.static_int8 import Prefixes
from quantize.trunk import FrozenTrunk
from quantize.weight_only import round_weights

__all__ = ["Backend"]


class Backend(backend.Backend):
    """Vulkan, which has no options; in int8 weights are rounded, and activations are not."""

    runs_here = False  # the Python wheel's runtime does not have it
    calibrated = False

    def partitioner(self) -> Partitioner:
        """Return Vulkan's partitioner."""
        return VulkanPartitioner()

    def quantised(
        self,
        trunk: FrozenTrunk,
        batches: Sequence[Tensor],
        passes: Sequence[Prefixes],
        micro_batch: int,
    ) -> FeatureExtractor:
        """Return the trunk with int8 weights."""
        return round_weights(trunk)
