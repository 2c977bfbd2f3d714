"""A Raspberry Pi's processor, emulated by qemu's user mode, with the actual aarch64 wheels on it.

No root, chroot, mount or binfmt: qemu looks for the system's files in a folder first.
"""

import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

from mobile.raspberry_pi.aarch64_check.cuda_stubs import make_stubs
from mobile.raspberry_pi.aarch64_check.downloads import (
    UnavailableError,
    unpack_debian_packages,
    unpack_wheels,
)

__all__ = ["PROCESSORS", "WHEELS", "EmulatedBoard", "install"]

# By qemu's name, the part number in /proc/cpuinfo: of a Raspberry Pi 5 and of a Raspberry Pi 4.
PROCESSORS = {"cortex-a76": "0xd0b", "cortex-a72": "0xd08"}

_QEMU = "qemu-aarch64-static"
_PYTHON = "python3.11"
_SYSTEM = (_PYTHON, "libgomp1", "libstdc++6", "binutils")
# What the device side imports; torch asks for more, which nothing here imports.
WHEELS = (
    "torch",
    "executorch",
    "lazy-loader",
    "msgspec",
    "numpy",
    "pillow",
    "safetensors",
    "typing-extensions",
)
_CHECKOUT = Path(__file__).resolve().parents[3]

_CORES = 4
_CORE = """\
processor\t: {number}
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid{more}
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: {part}
CPU revision\t: 3

"""
_SINCE_ARMV8_2 = " atomics fphp asimdhp asimdrdm lrcpc dcpop asimddp"


@dataclass(frozen=True)
class EmulatedBoard:
    """An installed system, and the name of the processor that it runs on."""

    system: Path
    processor: str

    def run(
        self,
        program: str,
        arguments: Sequence[str | Path],
        environment: Mapping[str, str],
        timeout: float | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program of /usr/bin, and return what it printed and how it ended."""
        root = self.system / self.processor
        emulator = [str(self.system / _QEMU), "-cpu", self.processor, "-L", str(root)]
        command = [*emulator, str(root / "usr" / "bin" / program), *arguments]
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=timeout
        )

    def run_module(
        self, module: str, arguments: Sequence[str | Path], timeout: float | None
    ) -> subprocess.CompletedProcess[str]:
        """Run a module of this checkout with Python, the wheels and nothing else."""
        environment = {
            "PYTHONPATH": f"{self.system / 'wheels'}:{_CHECKOUT}",
            "LD_LIBRARY_PATH": str(self.system / "stubs"),
        }
        return self.run(_PYTHON, ["-m", module, *arguments], environment, timeout)


def install(cache: Path, say: Callable[[str], object]) -> Path:
    """Return the folder of an installed system, made if the cache has none of these versions.

    The versions of the wheels are those of the packages that are installed here. ``say`` is told
    what takes long.

    Raises:
        UnavailableError: this is no x86-64 Linux, or apt or pip cannot get what it is made of.
    """
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        raise UnavailableError(
            f"it emulates aarch64 on x86-64 Linux, and this is {sys.platform} on "
            f"{platform.machine()}"
        )
    pins = {name: version(name).partition("+")[0] for name in WHEELS}
    system = cache / "-".join(f"{name.replace('-', '_')}{pin}" for name, pin in pins.items())
    if system.exists():
        return system
    cache.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=cache) as name:
        made, packages = Path(name) / "system", Path(name) / "packages"
        for part in ("root", "wheels", "stubs"):
            (made / part).mkdir(parents=True)
        say("getting qemu and an arm64 system from Debian")
        unpack_debian_packages(["qemu-user-static"], "amd64", packages)
        shutil.move(packages / "usr" / "bin" / _QEMU, made)
        unpack_debian_packages(_SYSTEM, "arm64", made / "root")
        for processor in PROCESSORS:
            _make_root(made, processor)
        say(f"getting aarch64 wheels of {', '.join(pins)}")
        unpack_wheels([f"{name}=={pin}" for name, pin in pins.items()], made / "wheels")
        board = EmulatedBoard(made, next(iter(PROCESSORS)))
        python = made / "root" / "usr" / "bin" / _PYTHON

        def run(program: str, arguments: Sequence[str | Path]) -> str:
            result = board.run(program, arguments, environment={})
            result.check_returncode()
            return result.stdout

        make_stubs(run, made / "wheels" / "torch" / "lib", made / "root", python, made / "stubs")
        made.rename(system)
    return system


def _make_root(system: Path, processor: str) -> None:
    """Make the root folder of a processor: the system, and a /proc/cpuinfo that names it.

    Without one torch would read this machine's, and not start.
    """
    root = system / processor
    (root / "proc").mkdir(parents=True)
    for entry in (system / "root").iterdir():
        (root / entry.name).symlink_to(Path("..", "root", entry.name))
    more = "" if processor == "cortex-a72" else _SINCE_ARMV8_2
    cores = (
        _CORE.format(number=number, part=PROCESSORS[processor], more=more)
        for number in range(_CORES)
    )
    (root / "proc" / "cpuinfo").write_text("".join(cores), encoding="ascii")
