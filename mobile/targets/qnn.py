"""Qualcomm's Hexagon through its AI Engine Direct (QNN): the forward pass in half precision.

The trunk says itself what is half. What is not, the learner's mathematics, stays on the CPU: the
Hexagon computes floating point in half precision only, whatever a tensor's type.
"""

import ctypes
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, final

import torch
from executorch.backends.qualcomm._passes.qnn_pass_manager import get_qnn_pass_manager_cls
from executorch.backends.qualcomm.partition.qnn_partitioner import QnnPartitioner
from executorch.backends.qualcomm.serialization.qc_schema import (
    QcomChipset,
    QnnExecuTorchBackendType,
)
from executorch.backends.qualcomm.utils.qnn_manager_lifecycle import QnnManagerContext
from executorch.backends.qualcomm.utils.utils import (
    generate_htp_compiler_spec,
    generate_qnn_executorch_compiler_spec,
)
from executorch.exir.backend.compile_spec_schema import CompileSpec
from executorch.exir.backend.partitioner import Partitioner, PartitionResult
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import Node

from cbpnet.host.errors import InputError
from cbpnet.method.learner import FeatureExtractor
from mobile.targets import backend
from quantize.half_precision import HalfPrecisionTrunk
from quantize.trunk import FrozenTrunk
from quantize.weight_only import round_weights

__all__ = ["Backend"]

_LIBRARY = "libQnnHtp.so"


@final
class _HalvesPartitioner(Partitioner):  # type: ignore[misc]  # executorch has no types
    """Qualcomm's partitioner, for what is in half precision."""

    def __init__(self, specs: list[CompileSpec]) -> None:
        super().__init__()
        self.specs = specs
        self.delegation_spec = QnnPartitioner(specs).delegation_spec

    def ops_to_not_decompose(
        self, ep: ExportedProgram
    ) -> tuple[list[torch._ops.OpOverload], Callable[[Node], bool]]:
        """Return what Qualcomm has an operator of its own for, where it computes halves."""
        operators, keeps = QnnPartitioner(self.specs).ops_to_not_decompose(ep)
        return operators, lambda node: _computes_halves(node) and keeps(node)

    def partition(self, exported_program: ExportedProgram) -> PartitionResult:
        """Return Qualcomm's partitions of what computes halves."""
        others = {node.name for node in exported_program.graph.nodes if not _computes_halves(node)}
        return QnnPartitioner(self.specs, skip_node_id_set=others).partition(exported_program)


def _computes_halves(node: Node) -> bool:
    """Return whether a node gives half precision alone, and takes nothing that is wider."""
    given = [kind for each in node.all_input_nodes for kind in _types(each)]
    return _types(node) == {torch.float16} and torch.float32 not in given


def _types(node: Node) -> set[torch.dtype]:
    value = node.meta.get("val")
    values = value if isinstance(value, list | tuple) else [value]
    return {each.dtype for each in values if isinstance(each, Tensor)}


class Backend(backend.Backend):
    """The Hexagon of a system on a chip, the ``soc``.

    In int8 weights are rounded, and activations are not.

    Raises InputError where Qualcomm's library cannot be loaded.
    """

    runs_here = False
    calibrated = False

    def __init__(self, soc: str) -> None:
        try:
            ctypes.CDLL(_LIBRARY)
        except OSError as error:
            raise InputError(
                f"Qualcomm's {_LIBRARY} cannot be loaded ({error}); put the SDK's folder "
                "lib/x86_64-linux-clang into LD_LIBRARY_PATH"
            ) from error
        self.specs: list[CompileSpec] = generate_qnn_executorch_compiler_spec(
            QcomChipset[soc], generate_htp_compiler_spec(use_fp16=True)
        )

    def partitioner(self) -> Partitioner:
        """Return a partitioner for what is in half precision."""
        return _HalvesPartitioner(self.specs)

    def passes(self, program: ExportedProgram) -> Sequence[Callable[..., Any]]:
        """Return the passes that Qualcomm's compiler expects to have been run."""
        manager = get_qnn_pass_manager_cls(QnnExecuTorchBackendType.kHtpBackend)()
        found: Sequence[Callable[..., Any]] = manager.get_to_edge_transform_passes(
            program, compiler_specs=self.specs
        )
        return found

    def compiling(self) -> AbstractContextManager[None]:
        """Return a context in which Qualcomm's compiler is open."""
        context: AbstractContextManager[None] = QnnManagerContext({"forward": self.specs})
        return context

    def unquantised(self, trunk: FrozenTrunk) -> FeatureExtractor:
        """Return the trunk in half precision."""
        return HalfPrecisionTrunk(trunk)

    def quantised(self, trunk: FrozenTrunk, calibration: backend.Calibration) -> FeatureExtractor:
        """Return the trunk in half precision with int8 weights."""
        return HalfPrecisionTrunk(round_weights(trunk))
