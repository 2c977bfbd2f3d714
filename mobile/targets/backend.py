"""What a target has to say at export."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from executorch.exir.backend.partitioner import Partitioner
from torch import Tensor
from torch.export import ExportedProgram

from cbpnet.method.learner import FeatureExtractor
from quantize.calibrated import calibrated_trunk
from quantize.static_int8 import Prefixes
from quantize.trunk import FrozenTrunk

__all__ = ["Backend", "Calibration"]


@dataclass(frozen=True)
class Calibration:
    """What a trunk is rounded to int8 by.

    ``batches`` are normalised images [B, 3, S, S], each taken with each of ``passes``; there is
    none where the target is not ``calibrated``. The rounded trunk will be traced with
    ``micro_batch`` images.
    """

    batches: Sequence[Tensor]
    passes: Sequence[Prefixes]
    micro_batch: int


class Backend:
    """A target with its options, for one export; the options are the constructor's keywords.

    A target overrides what it does otherwise. ``runs_here`` is whether this machine's ExecuTorch
    runtime executes its delegates: what it cannot execute is not compared with PyTorch.
    ``calibrated`` is whether it takes images to round to int8. A target that does not ``delegate``
    has no partitioner: ExecuTorch's own kernels run all of it.
    """

    runs_here: bool = True
    calibrated: bool = True
    delegates: bool = True

    def partitioner(self) -> Partitioner:
        """Return a partitioner for one method."""
        raise NotImplementedError

    def passes(self, program: ExportedProgram) -> Sequence[Any]:
        """Return the passes of ExecuTorch's exporter that a method goes through before it."""
        return ()

    def compiling(self) -> AbstractContextManager[None]:
        """Return a context in which the methods are lowered."""
        return nullcontext()

    def unquantised(self, trunk: FrozenTrunk) -> FeatureExtractor:
        """Return what computes a trunk's features where nothing is rounded to int8."""
        return trunk

    def quantised(self, trunk: FrozenTrunk, calibration: Calibration) -> FeatureExtractor:
        """Return what computes a trunk's features in int8; traced, it is what is lowered.

        Raises InputError where the target is ``calibrated`` and there is no image.
        """
        return calibrated_trunk(trunk, calibration.batches, calibration.passes).trunk

    def report(self, methods: Sequence[str]) -> dict[str, Any] | None:
        """Return what the target's compiler says of the methods that it lowered, in their order.

        None where it is mute.
        """
        return None
