"""The systems that the check runs: Debian's releases, as Raspberry Pi OS is built on them."""

import hashlib
import platform
import shutil
import sys
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from packaging.requirements import Requirement

from cbpnet.host.packages import installed_version
from mobile.raspberry_pi.aarch64_check.cuda_stubs import make_stubs
from mobile.raspberry_pi.aarch64_check.downloads import (
    UnavailableError,
    unpack_debian_packages,
    unpack_wheels,
)
from mobile.raspberry_pi.aarch64_check.emulated_board import (
    CHECKOUT,
    PROCESSORS,
    EmulatedBoard,
    make_root,
)

__all__ = ["SYSTEMS", "System", "get_emulator", "install"]

# What a device has beside an engine, what that asks for, and what the conformance tests ask for.
_DEVICE = (
    *("click", "jinja2", "lazy-loader", "markupsafe", "msgspec", "numpy", "pillow"),
    *("safetensors", "tabulate", "tqdm"),
)
_TESTS = ("iniconfig", "packaging", "pluggy", "pygments", "pytest")


@dataclass(frozen=True)
class System:
    """A release of Debian, with what a board of it learns with.

    Attributes:
        suite: the release's name.
        python: its Python's version, as 3.13.
        engine: the engine that is installed there.
        packages: Debian's packages.
        wheels: names of Python's packages.
    """

    suite: str
    python: str
    engine: str
    packages: tuple[str, ...]
    wheels: tuple[str, ...]


SYSTEMS = {
    system.suite: system
    for system in (
        System(
            "trixie",
            "3.13",
            "executorch-numpy-runtime",
            ("python3.13", "libstdc++6"),
            ("executorch-numpy-runtime", *_DEVICE, *_TESTS),
        ),
        # torch asks for more Python packages than one, which nothing here imports.
        System(
            "bookworm",
            "3.11",
            "executorch",
            ("python3.11", "libstdc++6", "libgomp1", "binutils"),
            ("torch", "executorch", "typing-extensions", *_DEVICE, *_TESTS),
        ),
    )
}


def get_emulator(cache: Path, say: Callable[[str], object]) -> Path:
    """Return qemu, which is put into the cache where it is missing.

    Raises:
        UnavailableError: this is no x86-64 Linux, or apt cannot get it.
    """
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        raise UnavailableError(
            f"it emulates aarch64 on x86-64 Linux, and this is {sys.platform} on "
            f"{platform.machine()}"
        )
    emulator = cache / "qemu-aarch64-static"
    if not emulator.exists():
        cache.mkdir(parents=True, exist_ok=True)
        say("getting qemu from Debian")
        with TemporaryDirectory(dir=cache) as name:
            unpack_debian_packages(["qemu-user-static"], "bookworm", "amd64", Path(name))
            shutil.move(Path(name, "usr", "bin", emulator.name), emulator)
    return emulator


def install(
    system: System, emulator: Path, cache: Path, say: Callable[[str], object]
) -> dict[str, EmulatedBoard]:
    """Return a board for each processor; the system is put into the cache where it is missing.

    Wheels have the versions of the packages that are installed here, and those of the engine that
    is not the versions in pyproject.toml. ``say`` is told what takes long.

    Raises:
        UnavailableError: apt or pip cannot get what the system is made of.
    """
    pins = [f"{name}=={_version(name)}" for name in system.wheels]
    versions = hashlib.sha256(" ".join(pins).encode()).hexdigest()[:16]
    folder = cache / f"{system.suite}-{versions}"
    if not folder.exists():
        with TemporaryDirectory(dir=cache) as name:
            made = Path(name) / "system"
            _make(system, pins, emulator, made, say)
            made.rename(folder)
    return {
        processor: EmulatedBoard(emulator, folder, system.python, processor)
        for processor in PROCESSORS
    }


def _make(
    system: System, pins: list[str], emulator: Path, folder: Path, say: Callable[[str], object]
) -> None:
    for part in ("root", "wheels", "stubs"):
        (folder / part).mkdir(parents=True)
    say(f"getting Debian {system.suite} for arm64")
    unpack_debian_packages(system.packages, system.suite, "arm64", folder / "root")
    for processor in PROCESSORS:
        make_root(folder, processor)
    say(f"getting aarch64 wheels of {', '.join(system.wheels)}")
    unpack_wheels(pins, system.python, folder / "wheels")
    if "torch" in system.wheels:
        board = EmulatedBoard(emulator, folder, system.python, next(iter(PROCESSORS)))
        libraries = folder / "wheels" / "torch" / "lib"
        make_stubs(board.ask, libraries, folder / "root", board.python, folder / "stubs")


def _version(name: str) -> str:
    """Return the version that is installed here, else the one that the project asks for."""
    installed = installed_version(name)
    if installed != "none":
        return installed.partition("+")[0]
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))
    for requirement in map(Requirement, project["project"]["dependencies"]):
        if requirement.name == name:
            return str(requirement.specifier).removeprefix("==")
    raise UnavailableError(f"{name} is not installed here")
