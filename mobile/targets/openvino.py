"""Intel NPUs, GPUs and CPUs through OpenVINO: the forward pass in static int8 or fp32."""

from contextlib import redirect_stdout
from io import StringIO
from typing import final

from executorch.backends.openvino.partitioner import OpenvinoPartitioner
from executorch.exir.backend.compile_spec_schema import CompileSpec
from executorch.exir.backend.partitioner import Partitioner, PartitionResult
from torch.export import ExportedProgram

from mobile.targets import backend

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
    """OpenVINO for a ``device``: what computes in fp32 between the layers stays in fp32."""

    def __init__(self, device: str) -> None:
        self.device = device

    def partitioner(self) -> Partitioner:
        """Return a partitioner that compiles for the device."""
        return _QuietPartitioner(self.device)
