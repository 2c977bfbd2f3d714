"""Arm's Ethos-U microNPUs: the forward pass in whole numbers, compiled by Vela."""

import shutil
import weakref
from collections.abc import Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import torch
from ethosu import vela
from ethosu.vela.architecture_features import ArchitectureFeatures
from ethosu.vela.errors import VelaError
from executorch.backends.arm.ethosu import EthosUCompileSpec, EthosUPartitioner
from executorch.exir.backend.partitioner import Partitioner

from cbpnet.host.errors import InputError
from cbpnet.method.learner import FeatureExtractor
from mobile.targets import backend
from mobile.targets.arm_indices import NoIndices
from mobile.targets.arm_quantisation import IntegerTrunk
from mobile.targets.vela_summary import read_summary
from quantize.trunk import FrozenTrunk

__all__ = ["Backend"]

_MEMORIES = Path(vela.__file__).parents[1] / "config_files" / "Arm" / "vela.ini"


class Backend(backend.Backend):
    """An Ethos-U of a size, its memories (``system``) and what is kept in which (``memory_mode``).

    Raises:
        InputError: the system is another accelerator's, or has not the memory of that mode.
    """

    runs_here = False

    def __init__(self, accelerator: str, system: str, memory_mode: str) -> None:
        self.accelerator = accelerator
        self.system = None if system == "default" else system
        self.memory_mode = None if memory_mode == "default" else memory_mode
        self.folders: list[Path] = []
        _check(self._spec())

    def partitioner(self) -> Partitioner:
        """Return a partitioner whose compiler keeps its report."""
        folder = mkdtemp()
        weakref.finalize(self, shutil.rmtree, folder)
        self.folders.append(Path(folder))
        spec = self._spec()
        spec.dump_intermediate_artifacts_to(folder)
        return EthosUPartitioner(spec, [NoIndices()])

    def quantised(self, trunk: FrozenTrunk, calibration: backend.Calibration) -> FeatureExtractor:
        """Return a trunk in whole numbers of 16 bits; U55 and U65 multiply two tensors in 8 alone.

        Raises InputError where there is no image.
        """
        narrow = [] if "u85" in self.accelerator else [torch.ops.aten.bmm.default]
        return IntegerTrunk(trunk, self._spec(), calibration, narrow)

    def report(self, methods: Sequence[str]) -> dict[str, Any]:
        """Return what Vela estimates of each method; see `read_summary`.

        Of a method in several parts, to which Vela gives one name, nothing is known but the number.
        """
        found: dict[str, Any] = {}
        for method, folder in zip(methods, self.folders, strict=False):
            parts = len(list(folder.glob("output_*.tosa")))
            summaries = list(folder.glob("output/*_summary_*.csv"))
            single = parts == 1 and len(summaries) == 1
            found[method] = read_summary(summaries[0]) if single else {"parts": parts}
        return found

    def _spec(self) -> EthosUCompileSpec:
        return EthosUCompileSpec(self.accelerator, self.system, self.memory_mode)


def _check(spec: EthosUCompileSpec) -> None:
    """Raise `InputError` unless Vela knows the accelerator with its memories."""
    given = dict(flag.removeprefix("--").split("=") for flag in spec.compiler_flags)
    accelerator, system = given["accelerator-config"], given["system-config"]
    family = accelerator.rpartition("-")[0].replace("-", "_").replace("e", "E", 1).replace("u", "U")
    if not system.startswith(family):
        raise InputError(
            f"system {system} is not one for {accelerator}; its name must begin with {family}"
        )
    try:
        with redirect_stdout(StringIO()):
            ArchitectureFeatures(
                vela_config_files=[str(_MEMORIES)],
                accelerator_config=accelerator,
                system_config=system,
                memory_mode=given["memory-mode"],
                verbose_config=False,
                arena_cache_size=None,
                max_blockdep=ArchitectureFeatures.MAX_BLOCKDEP,
            )
    except VelaError as error:
        raise InputError(
            f"{accelerator} with system {system} has no memory_mode {given['memory-mode']!r}: "
            f"{error.data}"
        ) from error
