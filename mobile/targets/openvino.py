"""Intel NPUs, GPUs and CPUs through OpenVINO: the forward pass in int8 or fp32.

In int8 the weights are rounded as XNNPACK's are, so that prediction and learning share what that
costs; activations are rounded too only where it is asked for.
"""

from contextlib import redirect_stdout
from io import StringIO
from typing import final

from executorch.backends.openvino.partitioner import OpenvinoPartitioner
from executorch.exir.backend.compile_spec_schema import CompileSpec
from executorch.exir.backend.partitioner import Partitioner, PartitionResult
from openvino import Core
from torch.export import ExportedProgram

from cbpnet.host.errors import InputError
from cbpnet.method.learner import FeatureExtractor
from mobile.targets import backend
from quantize.half_precision import HalfPrecisionTrunk
from quantize.trunk import FrozenTrunk
from quantize.weight_only import round_weights

__all__ = ["Backend"]


@final
class _QuietPartitioner(Partitioner):  # type: ignore[misc]  # executorch has no types
    """OpenVINO's partitioner, which prints every operator that it does not know."""

    def __init__(self, device: str) -> None:
        super().__init__()
        self.inner = OpenvinoPartitioner([CompileSpec("device", device.encode())])
        self.delegation_spec = self.inner.delegation_spec

    def ops_to_not_decompose(self, ep: ExportedProgram) -> object:
        """Return what OpenVINO has an operator of its own for."""
        return self.inner.ops_to_not_decompose(ep)

    def partition(self, exported_program: ExportedProgram) -> PartitionResult:
        """Return OpenVINO's partitions."""
        with redirect_stdout(StringIO()):
            return self.inner.partition(exported_program)


class Backend(backend.Backend):
    """OpenVINO for a ``device``, with ``activations`` in "float" or, where calibrated, "int8".

    Raises InputError where OpenVINO does not find the device on this machine: it compiles here.
    """

    def __init__(self, device: str, activations: str) -> None:
        devices = Core().available_devices
        if device not in devices:
            raise InputError(
                f"OpenVINO compiles for a device of the machine that exports, and finds no "
                f"{device} on this one; it has {', '.join(devices)}"
            )
        self.device = device
        self.calibrated = activations == "int8"

    def partitioner(self) -> Partitioner:
        """Return a partitioner that compiles for the device."""
        return _QuietPartitioner(self.device)

    def unquantised(self, trunk: FrozenTrunk) -> FeatureExtractor:
        """Return the trunk for a CPU, and in half precision for GPU and NPU, which have no more."""
        return trunk if self.device == "CPU" else HalfPrecisionTrunk(trunk)

    def quantised(self, trunk: FrozenTrunk, calibration: backend.Calibration) -> FeatureExtractor:
        """Return the trunk with weights in int8, or in static int8 wholly."""
        if self.calibrated:
            return super().quantised(trunk, calibration)
        return self.unquantised(round_weights(trunk, marked=False))
