"""Installing an emulated system and running on it, with an emulator that just runs its command."""

import subprocess
import sys
from pathlib import Path

import pytest

from mobile.raspberry_pi.aarch64_check import emulated_board
from mobile.raspberry_pi.aarch64_check.downloads import UnavailableError
from mobile.raspberry_pi.aarch64_check.emulated_board import (
    PROCESSORS,
    WHEELS,
    EmulatedBoard,
    install,
)

QEMU = '#!/bin/sh\nprocessor=$2 root=$4; shift 4; . "$root/proc/test"; exec "$@"\n'
PYTHON = '#!/bin/sh\necho "$@"; echo "$PYTHONPATH"; echo "$LD_LIBRARY_PATH"; echo "$LEAK"; exit 7\n'


@pytest.fixture
def downloads(monkeypatch):
    """What is asked of apt and pip, which give scripts instead."""
    asked = []

    def debian(names, architecture, folder):
        asked.append((architecture, *names))
        programs = folder / "usr" / "bin"
        programs.mkdir(parents=True)
        script = QEMU if architecture == "amd64" else PYTHON
        path = programs / ("qemu-aarch64-static" if architecture == "amd64" else "python3.11")
        path.write_text(script)
        path.chmod(0o755)

    def wheels(requirements, folder):
        asked.append(("wheels", *requirements))

    monkeypatch.setattr(emulated_board, "unpack_debian_packages", debian)
    monkeypatch.setattr(emulated_board, "unpack_wheels", wheels)
    monkeypatch.setattr(emulated_board, "make_stubs", lambda run, *paths: [])
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    return asked


def test_a_system_is_installed_once_for_each_set_of_versions(downloads, tmp_path, monkeypatch):
    versions = {"torch": "2.13.0+cpu"}
    monkeypatch.setattr(emulated_board, "version", lambda name: versions.get(name, "1.0"))
    said = []
    system = install(tmp_path / "cache", said.append)
    assert system.name.startswith("torch2.13.0-executorch1.0-lazy_loader1.0-")
    assert [entry.name for entry in (tmp_path / "cache").iterdir()] == [system.name]
    (qemu, *_), (arm, *packages), (_, *wheels) = downloads
    assert (qemu, arm) == ("amd64", "arm64")
    assert "python3.11" in packages
    assert wheels[:2] == ["torch==2.13.0", "executorch==1.0"]
    assert len(said) == 2
    assert install(tmp_path / "cache", said.append) == system
    assert (len(downloads), len(said)) == (3, 2)


def test_each_processor_has_the_system_and_names_itself(downloads, tmp_path):
    system = install(tmp_path, lambda line: None)
    for processor, part in PROCESSORS.items():
        root = system / processor
        assert (root / "usr" / "bin" / "python3.11").read_text() == PYTHON
        lines = (root / "proc" / "cpuinfo").read_text().splitlines()
        assert lines.count(f"CPU part\t: {part}") == 4
        assert any("asimddp" in line for line in lines) == (processor == "cortex-a76")


def test_a_module_runs_with_the_wheels_and_the_checkout(downloads, tmp_path, monkeypatch):
    monkeypatch.setenv("LEAK", "1")
    system = install(tmp_path, lambda line: None)
    (system / "cortex-a72" / "proc" / "test").write_text('echo "$processor" >&2')
    result = EmulatedBoard(system, "cortex-a72").run_module("some.module", ["a", Path("b")], 60)
    assert (result.returncode, result.stderr) == (7, "cortex-a72\n")
    arguments, python_path, library_path, leak = result.stdout.split("\n")[:4]
    assert arguments == "-m some.module a b"
    wheels, checkout = python_path.split(":")
    assert Path(wheels) == system / "wheels"
    assert (Path(checkout) / "mobile" / "raspberry_pi").is_dir()
    assert Path(library_path) == system / "stubs"
    assert leak == ""


SESSION = """
import sys
from importlib.metadata import packages_distributions

present = {name.replace("-", "_") for name in sys.argv[1:]} | {"cbpnet_mobile"}
class Missing:
    def find_spec(self, name, path=None, target=None):
        owners = {owner.replace("-", "_") for owner in owned.get(name.partition(".")[0], ())}
        if owners and not owners & present:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
owned = packages_distributions()
sys.meta_path.insert(0, Missing())
import mobile.raspberry_pi.aarch64_check.session
import executorch.extension.pybindings._portable_lib
"""


def test_the_wheels_are_all_that_a_session_imports():
    subprocess.run([sys.executable, "-W", "ignore", "-c", SESSION, *WHEELS], check=True)


@pytest.mark.parametrize(("system", "machine"), [("darwin", "x86_64"), ("linux", "aarch64")])
def test_a_machine_that_cannot_emulate(tmp_path, monkeypatch, system, machine):
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr("platform.machine", lambda: machine)
    with pytest.raises(UnavailableError, match=f"and this is {system} on {machine}$"):
        install(tmp_path, lambda line: None)
    assert list(tmp_path.iterdir()) == []


def test_what_fails_leaves_nothing_in_the_cache(downloads, tmp_path, monkeypatch):
    def fail(requirements, folder):
        raise UnavailableError("pip: no network")

    monkeypatch.setattr(emulated_board, "unpack_wheels", fail)
    with pytest.raises(UnavailableError, match="pip: no network"):
        install(tmp_path, lambda line: None)
    assert list(tmp_path.iterdir()) == []
