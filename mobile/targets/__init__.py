"""What a bundle can be lowered to; one file a target, found through one table.

The table imports no target: a device has none of what they need.
"""

import importlib
import importlib.util
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cbpnet.host.errors import InputError

__all__ = ["TARGETS", "Option", "Sdk", "Target", "load_backend", "target_options"]

_EXPORTER = {
    "executorch.exir": "executorch==1.4.1",
    "torchao": "torchao==0.18.0",
    "timm": "timm==1.0.31",
}


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
    ``needs`` are the packages that exporting for it imports, and what pip installs each from;
    ``sdk`` is what it needs besides. A target that ``learns`` runs every method; another one runs
    `query` and `predict`, rounded as its ``Backend`` says, and XNNPACK runs the rest on the same
    machine's CPU.
    """

    runs_on: str
    precisions: tuple[str, ...]
    verified: str
    module: str
    needs: Mapping[str, str] = field(default_factory=_EXPORTER.copy)
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
    def install(self) -> str | None:
        """The command that installs what is missing; None where nothing is."""
        missing = dict.fromkeys(self.needs[name] for name in self.missing)
        return f"pip install {' '.join(map(shlex.quote, missing))}" if missing else None


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
        # The extra does not bring nncf, which its package imports; 3.4.0 and 2.19.0 do not work.
        needs={**_EXPORTER, "openvino": "executorch[openvino]==1.4.1", "nncf": "nncf==3.1.0"},
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
        needs={
            **_EXPORTER,
            "tosa_serializer": "executorch[vgf]==1.4.1",
            "model_converter": "executorch[vgf]==1.4.1",
        },
        learns=False,
    ),
    "ethos-u": Target(
        runs_on="Arm's Ethos-U NPUs (U55, U65, U85), compiled by Vela; learns on the CPU through "
        "XNNPACK",
        precisions=("int8",),
        verified="lowered; the numbers checked with Arm's reference model of TOSA; run on no NPU",
        module="mobile.targets.ethos_u",
        needs={
            **_EXPORTER,
            "ethosu.vela": "executorch[ethos-u]==1.4.1",
            "tosa_serializer": "executorch[ethos-u]==1.4.1",
        },
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
        needs={**_EXPORTER, "coremltools": "coremltools==9.0"},
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
        needs={**_EXPORTER, "cpuinfo": "py-cpuinfo==9.0.0"},
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


def load_backend(name: str, given: Mapping[str, str]) -> Any:
    """Return a target's `Backend` with the options that were given, the others at their defaults.

    Raises:
        InputError: what it needs is not installed; the message has the command that installs it;
            or the target has no such option or value.
    """
    target, options = TARGETS[name], target_options(name, given)
    if target.missing:
        raise InputError(
            f"target {name} needs {', '.join(target.missing)}, which is not installed here; "
            f"install it with `{target.install}`"
        )
    sdk = target.missing_sdk
    if sdk is not None:
        raise InputError(
            f"target {name} needs {sdk.name}, which is not installed here; {sdk.install}"
        )
    return importlib.import_module(target.module).Backend(**options)


def target_options(name: str, given: Mapping[str, str]) -> dict[str, str]:
    """Return every option of a target: the value that was given, or its default.

    Raises:
        InputError: the target has no option of that name, or the option no such value.
    """
    options = TARGETS[name].options
    for key, value in given.items():
        if key not in options:
            right = f"it has {', '.join(options)}" if options else "it has none"
            raise InputError(f"target {name} has no option {key!r}; {right}")
        if value not in options[key].choices:
            raise InputError(
                f"option {key} of target {name} is {value!r}; it must be one of "
                f"{', '.join(options[key].choices)}"
            )
    return {key: given.get(key, option.choices[0]) for key, option in options.items()}


def _installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:  # of the package around it
        return False
