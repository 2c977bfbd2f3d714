"""Arm's neural accelerators in GPUs, through Vulkan: linear layers in int8, or all in fp32."""

import os
import sysconfig
from collections.abc import Collection, Sequence
from pathlib import Path

import torch
from executorch.backends.arm.quantizer import TOSAQuantizer
from executorch.backends.arm.vgf import VgfCompileSpec, VgfPartitioner
from executorch.exir.backend.partitioner import Partitioner
from executorch.extension.pybindings import _portable_lib
from torch import Tensor

from cbpnet.method.learner import FeatureExtractor
from mobile.targets import backend
from mobile.targets.arm_indices import NoIndices
from mobile.targets.arm_quantisation import INT8, INT16, RoundedTrunk, configuration
from quantize.calibrated import calibrated_trunk
from quantize.static_int8 import Prefixes
from quantize.trunk import FrozenTrunk

__all__ = ["Backend"]


class Backend(backend.Backend):
    """VGF, which has no options.

    It computes in whole numbers and in fp32 within one graph: an int8 bundle's linear layers are in
    int8, their results in 16 bits, and what is between them in fp32.
    """

    def __init__(self) -> None:
        # The runtime looks for a Vulkan device with Arm's extensions, or what emulates them.
        self.runs_here: bool = _portable_lib._is_available("VgfBackend")
        # The compiler lies where pip put it, which need not be on the PATH.
        compiler = Path(sysconfig.get_path("scripts")) / "model-converter"
        os.environ.setdefault("MODEL_CONVERTER_PATH", str(compiler))

    def partitioner(self) -> Partitioner:
        """Return a partitioner that leaves indices to the CPU."""
        return VgfPartitioner(VgfCompileSpec(), [NoIndices()])

    def quantised(
        self,
        trunk: FrozenTrunk,
        batches: Sequence[Tensor],
        passes: Sequence[Prefixes],
        micro_batch: int,
    ) -> FeatureExtractor:
        """Return a trunk whose linear layers compute in static int8, but for the sensitive ones.

        Raises InputError where there is no image.
        """
        found = calibrated_trunk(trunk, batches, passes)
        return RoundedTrunk(
            found.smoothed,
            lambda: _linear_quantiser(found.recipe.keep_fp32),
            batches,
            passes,
            micro_batch,
        )


def _linear_quantiser(keep_fp32: Collection[str]) -> TOSAQuantizer:
    # A layer is in int8 only if its result is rounded too; 16 bits for it lose nothing.
    quantiser = TOSAQuantizer(VgfCompileSpec())
    quantiser.set_node_target(torch.ops.aten.linear.default, configuration(INT8, INT16))
    for name in keep_fp32:
        quantiser.set_module_name(f"trunk.{name}", None)
    return quantiser
