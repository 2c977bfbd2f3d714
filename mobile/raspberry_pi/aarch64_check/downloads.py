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
_KEYS = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


class UnavailableError(Exception):
    """This machine has no way to get what the check needs; the message is one sentence."""


def unpack_debian_packages(
    names: Sequence[str], suite: str, architecture: str, folder: Path
) -> None:
    """Unpack packages of a release, and all that they depend on, into a folder.

    apt gets a system of its own for it, of this release and architecture and with nothing
    installed.

    Raises:
        UnavailableError: there is no apt or dpkg here, or apt cannot get the packages.
    """
    for program in ("apt-get", "dpkg"):
        if shutil.which(program) is None:
            raise UnavailableError(f"{program} is not installed")
    if not _KEYS.exists():
        raise UnavailableError(f"debian-archive-keyring is not installed: there is no {_KEYS}")
    with TemporaryDirectory() as name:
        private = Path(name)
        archives = private / "cache" / "archives"
        for part in (archives / "partial", private / "state" / "lists" / "partial"):
            part.mkdir(parents=True)
        (private / "status").touch()
        sources = private / "sources.list"
        sources.write_text("".join(_sources(suite)), encoding="utf-8")
        settings = {
            "Dir::State": private / "state",
            "Dir::State::status": private / "status",
            "Dir::Cache": private / "cache",
            "Dir::Log": private,
            "Dir::Etc::sourcelist": sources,
            "Dir::Etc::sourceparts": "-",  # none
            "APT::Architecture": architecture,
            "APT::Architectures": architecture,
            "APT::Sandbox::User": "",  # another user could not write to the temporary folder
            "Debug::NoLocking": "true",  # the lock is root's
        }
        apt = ["apt-get", *(f"--option={key}={value}" for key, value in settings.items())]
        # Where one of the machine's sources lacks the release, another one may have it.
        with suppress(UnavailableError):
            _get("apt-get", [*apt, "update"])
        install = ["install", "--yes", "--download-only", "--no-install-recommends"]
        _get("apt-get", [*apt, *install, *names])
        for archive in sorted(archives.glob("*.deb")):
            subprocess.run(["dpkg", "--extract", archive, folder], check=True)


def unpack_wheels(requirements: Sequence[str], python: str, folder: Path) -> None:
    """Install wheels for a CPython on aarch64, without what they depend on, into a folder.

    Args:
        requirements: as pip takes them.
        python: the version, as 3.13.
        folder: where they go.

    Raises:
        UnavailableError: pip finds no such wheel.
    """
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary=:all:"]
    platform = [f"--platform={platform}" for platform in _PLATFORMS]
    # pip compares what a wheel says of its Python with the one that runs pip: tags say it, too.
    version = [f"--python-version={python}", "--implementation=cp", "--ignore-requires-python"]
    _get("pip", [*pip, *platform, *version, f"--target={folder}", *requirements])


def _sources(suite: str) -> list[str]:
    """Return apt's lines for a release, wherever this machine's own packages come from."""
    listing = _get("apt-get", ["apt-get", "indextargets", "--format=$(REPO_URI)"])
    places = dict.fromkeys(listing.split())
    return [f"deb [signed-by={_KEYS}] {place} {suite} main\n" for place in places]


def _get(name: str, command: Sequence[str]) -> str:
    """Run a command that downloads, and return what it prints."""
    try:
        return subprocess.run(
            command, check=True, capture_output=True, text=True, timeout=60 * _MINUTES
        ).stdout
    except subprocess.TimeoutExpired as error:
        raise UnavailableError(f"{name} took more than {_MINUTES} minutes") from error
    except subprocess.CalledProcessError as error:
        reasons = [line for line in error.stderr.splitlines() if line.startswith(("E: ", "ERROR"))]
        raise UnavailableError(f"{name}: {' '.join(reasons) or 'failed without a word'}") from error
