"""The table of targets: what each runs on, what it needs, and how it was verified.

The table imports no target: a device has none of what they need.
"""

import importlib.util
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["TARGETS", "TORCH_FIRST", "Option", "Sdk", "Target"]

# To be said with a command that installs a target: pip's default index has torch with CUDA.
TORCH_FIRST = "with the CPU build of torch in place first"

_EXPORTER = ("executorch.exir", "torchao", "timm")


@dataclass(frozen=True)
class Option:
    """A choice that a target alone has; the first of ``choices`` is the default."""

    choices: tuple[str, ...]
    help: str


@dataclass(frozen=True)
class Sdk:
    """What a vendor gives and pip does not: a folder that an environment variable names.

    It is known by a ``file`` in it.
    """

    name: str
    variable: str
    file: str

    @property
    def here(self) -> bool:
        """Whether it is on this machine."""
        folder = os.environ.get(self.variable)
        return folder is not None and Path(folder, self.file).is_file()

    @property
    def install(self) -> str:
        """What to do where it is not."""
        return f"get it from its vendor and set {self.variable} to its folder, with {self.file}"


@dataclass(frozen=True)
class Target:
    """What a target runs on, in which precisions, and how that was verified.

    ``module`` has its ``Backend``, a `mobile.targets.backend.Backend` that takes the ``options`` by
    name.
    ``needs`` are the packages that exporting for it imports, which the project's extras ``extras``
    bring; ``sdk`` is what it needs besides. A target that ``learns`` runs every method; another one
    runs `query` and `predict`, rounded as its ``Backend`` says, and XNNPACK runs the rest on the
    same machine's CPU.
    """

    runs_on: str
    precisions: tuple[str, ...]
    verified: str
    module: str
    needs: tuple[str, ...] = _EXPORTER
    extras: tuple[str, ...] = ("export",)
    options: Mapping[str, Option] = field(default_factory=dict)
    learns: bool = True
    sdk: Sdk | None = None

    @property
    def missing(self) -> list[str]:
        """The needed packages that are not installed here."""
        return [name for name in self.needs if not _installed(name)]

    @property
    def missing_sdk(self) -> Sdk | None:
        """The needed SDK that is not here; None where it is, or none is needed."""
        return None if self.sdk is None or self.sdk.here else self.sdk

    @property
    def package(self) -> str:
        """This project with what the target needs, as pip calls it."""
        return f"cbpnet-mobile[{','.join(self.extras)}]"

    @property
    def install(self) -> str | None:
        """The command that installs what is missing; None where nothing is.

        It keeps the torch that is installed, so that a board gets no CUDA where the CPU build is.
        """
        return f"pip install {shlex.quote(self.package)}" if self.missing else None


TARGETS = {
    "xnnpack": Target(
        runs_on="ARM and x86 CPUs, through ExecuTorch's XNNPACK backend",
        precisions=("int8", "fp32"),
        verified="run on x86-64 against PyTorch at the end of every export; not yet run on a phone "
        "or a board",
        module="mobile.targets.xnnpack",
    ),
    "openvino": Target(
        runs_on="Intel NPUs, GPUs and CPUs, through OpenVINO; learns on the CPU through XNNPACK",
        precisions=("int8", "fp32"),
        verified="run on an x86-64 CPU against PyTorch at the end of every export; not run on an "
        "NPU or a GPU",
        module="mobile.targets.openvino",
        needs=(*_EXPORTER, "openvino", "nncf"),
        extras=("export", "openvino"),
        options={
            "device": Option(("CPU", "GPU", "NPU"), "what OpenVINO compiles for"),
            "activations": Option(
                ("float", "int8"),
                "of an int8 bundle: as they are, or rounded too (calibrated on images; faster)",
            ),
        },
        learns=False,
    ),
    "vgf": Target(
        runs_on="Arm's neural accelerators in GPUs, through Vulkan; learns on the CPU through "
        "XNNPACK",
        precisions=("int8", "fp32"),
        verified="run in Arm's emulation layer against PyTorch at the end of an export, where the "
        "layer is; not run on an accelerator",
        module="mobile.targets.vgf",
        needs=(*_EXPORTER, "tosa_serializer", "model_converter"),
        extras=("export", "vgf"),
        learns=False,
    ),
    "ethos-u": Target(
        runs_on="Arm's Ethos-U NPUs (U55, U65, U85), compiled by Vela; learns on the CPU through "
        "XNNPACK",
        precisions=("int8",),
        verified="lowered; the numbers checked with Arm's reference model of TOSA; run on no NPU",
        module="mobile.targets.ethos_u",
        needs=(*_EXPORTER, "ethosu.vela", "tosa_serializer"),
        extras=("export", "ethos-u"),
        options={
            "accelerator": Option(
                (
                    "ethos-u85-256",
                    "ethos-u85-128",
                    "ethos-u85-512",
                    "ethos-u85-1024",
                    "ethos-u85-2048",
                    "ethos-u65-256",
                    "ethos-u65-512",
                    "ethos-u55-128",
                    "ethos-u55-256",
                ),
                "the NPU and its multipliers",
            ),
            "system": Option(
                (
                    "default",
                    "Ethos_U85_SYS_DRAM_Low",
                    "Ethos_U85_SYS_DRAM_Mid",
                    "Ethos_U85_SYS_DRAM_High",
                    "Ethos_U85_SYS_Flash_Low",
                    "Ethos_U85_SYS_Flash_High",
                    "Ethos_U65_Embedded",
                    "Ethos_U65_Mid_End",
                    "Ethos_U65_High_End",
                    "Ethos_U65_Client_Server",
                    "Ethos_U55_Deep_Embedded",
                    "Ethos_U55_High_End_Embedded",
                ),
                "its clock and memories, as Vela names them",
            ),
            "memory_mode": Option(
                (
                    "default",
                    "Sram_Only",
                    "Shared_Sram",
                    "Dedicated_Sram",
                    "Dedicated_Sram_256KB",
                    "Dedicated_Sram_384KB",
                    "Dedicated_Sram_512KB",
                ),
                "what lies in which memory, as Vela names it",
            ),
        },
        learns=False,
    ),
    "coreml": Target(
        runs_on="Apple's Neural Engine, GPUs and CPUs, through Core ML; learns on the CPU through "
        "XNNPACK",
        precisions=("int8", "fp32"),
        verified="lowered, and simulated in PyTorch; run on no Apple machine",
        module="mobile.targets.coreml",
        needs=(*_EXPORTER, "coremltools"),
        extras=("export", "coreml"),
        options={
            "units": Option(
                ("CPU_AND_NE", "ALL", "CPU_AND_GPU", "CPU_ONLY"), "what Core ML may choose from"
            ),
            "minimum": Option(
                ("iOS18", "iOS17", "iOS16"), "the oldest system; before iOS18 the file is larger"
            ),
            "compute": Option(
                ("float16", "float32"), "of the backbone; the Neural Engine takes no float32"
            ),
        },
        learns=False,
    ),
    "qnn": Target(
        runs_on="the Hexagon of Qualcomm's systems on a chip; learns on the CPU through XNNPACK",
        precisions=("int8", "fp32"),
        verified="ExecuTorch's part of the lowering, with a stand-in for Qualcomm's compiler; "
        "neither compiled nor run",
        module="mobile.targets.qnn",
        # ExecuTorch's package for it imports cpuinfo, and without the SDK tries to download it.
        needs=(*_EXPORTER, "cpuinfo"),
        extras=("export", "qnn"),
        options={
            "soc": Option(
                ("SM8650", "SM8850", "SM8750", "SM8550", "SM8475", "SM8450"),
                "the system on a chip; SM8650 is a Snapdragon 8 Gen 3",
            )
        },
        learns=False,
        sdk=Sdk(
            "Qualcomm's AI Engine Direct SDK",
            "QNN_SDK_ROOT",
            "lib/x86_64-linux-clang/libQnnHtp.so",
        ),
    ),
    "vulkan": Target(
        runs_on="GPUs, through Vulkan; learns on the CPU through XNNPACK",
        precisions=("int8", "fp32"),
        verified="lowered; not run, for the Python wheel's runtime has no Vulkan",
        module="mobile.targets.vulkan",
        learns=False,
    ),
    "portable": Target(
        runs_on="any CPU, through ExecuTorch's own kernels; slow, and the others' reference",
        precisions=("fp32",),
        verified="run on x86-64 against PyTorch at the end of every export",
        module="mobile.targets.portable",
    ),
}


def _installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:  # of the package around it
        return False
