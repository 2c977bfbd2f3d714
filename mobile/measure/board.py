"""Which machine this is: board, system, versions; and whether it is a real Raspberry Pi."""

import platform
import re
from dataclasses import dataclass
from pathlib import Path

from cbpnet.host.packages import installed_version
from cbpnet.host.processor import cpu_name
from cbpnet.host.system_files import memory_mb, read_system_file
from mobile.device.cores import usable_cpus

__all__ = ["Board", "describe_board"]

_PACKAGES = (
    "cbpnet-mobile",
    "executorch-numpy-runtime",
    "executorch",
    "torch",
    "numpy",
    "pillow",
)
_ROOT = Path("/")


@dataclass(frozen=True)
class Board:
    """The machine that figures were taken on.

    ``model`` is what a Raspberry Pi calls itself; of any other machine it says that it is none.
    Memory and swap are in megabytes (10^6 bytes); ``governor`` is how the kernel chooses the clock,
    None where it does not. ``versions`` are those of Python and of packages, "none" for a missing
    one.
    """

    model: str
    raspberry_pi: bool
    host: str
    os: str
    kernel: str
    machine: str
    cpu: str
    cores: int
    memory_mb: float
    swap_mb: float
    governor: str | None
    versions: dict[str, str]


def describe_board(root: Path = _ROOT) -> Board:
    """Return what this machine says of itself; ``root`` is where its /proc and /sys are."""
    model = read_system_file(root / "proc/device-tree/model").strip("\0\n")
    real = model.startswith("Raspberry Pi")
    memory = memory_mb(root / "proc/meminfo")
    governor = read_system_file(
        root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"
    ).strip()
    return Board(
        model=model if real else f"not a Raspberry Pi: {_other_machine(root, model)}",
        raspberry_pi=real,
        host=platform.node(),
        os=_os_name(root),
        kernel=platform.release(),
        machine=_architecture(),
        cpu=_chip(root) or cpu_name(),
        cores=len(usable_cpus()),
        memory_mb=memory.get("MemTotal", 0.0),
        swap_mb=memory.get("SwapTotal", 0.0),
        governor=governor or None,
        versions=_versions(),
    )


def _other_machine(root: Path, model: str) -> str:
    if model:
        return model
    virtual = re.search(
        r"^flags\s*:.*\bhypervisor\b", read_system_file(root / "proc/cpuinfo"), re.MULTILINE
    )
    return f"{_architecture()} {'virtual machine' if virtual else 'machine'}"


def _chip(root: Path) -> str:
    """Return the chip's name from "vendor,board" and "vendor,chip"; nothing where it has none."""
    names = read_system_file(root / "proc/device-tree/compatible").strip("\0").split("\0")
    return names[-1].partition(",")[2].upper()


def _architecture() -> str:
    return platform.machine().replace("_", "-")


def _os_name(root: Path) -> str:
    named = re.search(
        r'^PRETTY_NAME="?([^"\n]+)', read_system_file(root / "etc/os-release"), re.MULTILINE
    )
    return named[1] if named else platform.system()


def _versions() -> dict[str, str]:
    packages = {name: installed_version(name) for name in _PACKAGES}
    return {"python": platform.python_version(), **packages}
