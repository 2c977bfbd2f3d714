"""Apple's Neural Engine, GPUs and CPUs through Core ML: the forward pass in half precision.

The Neural Engine has no other. Left to choose, Core ML's converter puts all of a method into half
precision, the squares in a norm and the learner's mathematics too, and both overflow. So the trunk
says itself what is half, and the converter is told to change no type.
"""

import logging
import sys

from executorch.exir.backend.partitioner import Partitioner

from cbpnet.method.learner import FeatureExtractor
from mobile.targets import backend
from quantize.half_precision import HalfPrecisionTrunk
from quantize.trunk import FrozenTrunk
from quantize.weight_only import round_weights

# It warns of a newer torch, and of each of Apple's libraries that other machines do not have.
logging.getLogger("coremltools").setLevel(logging.ERROR)

import coremltools as ct  # noqa: E402
from executorch.backends.apple.coreml.compiler import CoreMLBackend  # noqa: E402
from executorch.backends.apple.coreml.compiler.coreml_preprocess import (  # noqa: E402
    MULTIMETHOD_WEIGHT_SHARING_STRATEGY as SHARING,
)
from executorch.backends.apple.coreml.partition import CoreMLPartitioner  # noqa: E402

# They tell what they leave out, and of each method which systems run it.
for part in (CoreMLPartitioner, CoreMLBackend):
    logging.getLogger(part.__module__).setLevel(logging.ERROR)

__all__ = ["Backend"]


class Backend(backend.Backend):
    """Core ML for some ``units`` of machines with the system ``minimum`` or a newer one.

    The trunk computes in ``compute``, "float16" or "float32"; the Neural Engine takes no "float32".
    In int8 weights are rounded, and activations are not.
    """

    runs_here = sys.platform == "darwin"
    calibrated = False

    def __init__(self, units: str, minimum: str, compute: str) -> None:
        self.units, self.minimum, self.compute = units, minimum, compute

    def partitioner(self) -> Partitioner:
        """Return a partitioner; from iOS 18 on the methods share their weights in the file."""
        specs = CoreMLBackend.generate_compile_specs(
            compute_unit=ct.ComputeUnit[self.units],
            minimum_deployment_target=ct.target[self.minimum],
            compute_precision=ct.precision.FLOAT32,  # types as the program has them
        )
        sharing = SHARING.POSITIONAL if self.minimum == "iOS18" else SHARING.DISABLED
        specs.append(
            CoreMLBackend.generate_multimethod_weight_sharing_strategy_compile_spec(sharing)
        )
        return CoreMLPartitioner(compile_specs=specs)

    def unquantised(self, trunk: FrozenTrunk) -> FeatureExtractor:
        """Return the trunk in the precision in which it is to compute."""
        return HalfPrecisionTrunk(trunk) if self.compute == "float16" else trunk

    def quantised(self, trunk: FrozenTrunk, calibration: backend.Calibration) -> FeatureExtractor:
        """Return the trunk with int8 weights, in the precision in which it is to compute."""
        return self.unquantised(round_weights(trunk))
