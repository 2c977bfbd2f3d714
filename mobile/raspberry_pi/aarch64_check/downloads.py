"""Debian packages and Python wheels of another architecture, without touching the system's own.

Both come from wherever apt and pip are configured to take them on this machine. Nothing here needs
to be root.
"""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

__all__ = ["UnavailableError", "unpack_debian_packages", "unpack_wheels"]

_MINUTES = 5  # of one download
_PLATFORMS = ("manylinux_2_28_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64")


class UnavailableError(Exception):
    """This machine has no way to get what the check needs; the message is one sentence."""


def unpack_debian_packages(names: Sequence[str], architecture: str, folder: Path) -> None:
    """Unpack the newest packages, and all that they depend on, into a folder.

    apt gets a system of its own for it, of this architecture and with nothing installed.

    Raises:
        UnavailableError: there is no apt or dpkg here, or apt cannot get the packages.
    """
    for program in ("apt-get", "dpkg"):
        if shutil.which(program) is None:
            raise UnavailableError(f"{program} is not installed")
    with TemporaryDirectory() as name:
        private = Path(name)
        archives = private / "cache" / "archives"
        for part in (archives / "partial", private / "state" / "lists" / "partial"):
            part.mkdir(parents=True)
        (private / "status").touch()
        settings = {
            "Dir::State": private / "state",
            "Dir::State::status": private / "status",
            "Dir::Cache": private / "cache",
            "Dir::Log": private,
            "APT::Architecture": architecture,
            "APT::Architectures": architecture,
            "APT::Sandbox::User": "",  # another user could not write to the temporary folder
            "Debug::NoLocking": "true",  # the lock is root's
        }
        apt = ["apt-get", *(f"--option={key}={value}" for key, value in settings.items())]
        # Where one of the machine's sources lacks the architecture, another one may have it.
        with suppress(UnavailableError):
            _get("apt-get", [*apt, "update"])
        install = ["install", "--yes", "--download-only", "--no-install-recommends"]
        _get("apt-get", [*apt, *install, *names])
        for archive in sorted(archives.glob("*.deb")):
            subprocess.run(["dpkg", "--extract", archive, folder], check=True)


def unpack_wheels(requirements: Sequence[str], folder: Path) -> None:
    """Install wheels for CPython 3.11 on aarch64, without what they depend on, into a folder.

    Raises:
        UnavailableError: pip finds no such wheel.
    """
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary=:all:"]
    platform = [f"--platform={platform}" for platform in _PLATFORMS]
    python = ["--python-version=3.11", "--implementation=cp"]
    _get("pip", [*pip, *platform, *python, f"--target={folder}", *requirements])


def _get(name: str, command: Sequence[str]) -> None:
    """Run a command that downloads."""
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=60 * _MINUTES)
    except subprocess.TimeoutExpired as error:
        raise UnavailableError(f"{name} took more than {_MINUTES} minutes") from error
    except subprocess.CalledProcessError as error:
        reasons = [line for line in error.stderr.splitlines() if line.startswith(("E: ", "ERROR"))]
        raise UnavailableError(f"{name}: {' '.join(reasons) or 'failed without a word'}") from error
