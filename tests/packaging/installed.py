"""The installed package: what it holds, and that each command is there and says what it lacks.

Not for the checkout, which has everything: tests/packaging/wheel_test.sh runs it on a wheel.
"""

import importlib
import importlib.util
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from mobile.cli import COMMANDS

WITHOUT_TORCH = sys.version_info >= (3, 12)


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the installed command in a folder."""
    command = [Path(sys.executable).parent / "cbpnet-mobile", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


@pytest.mark.parametrize("package", ["cbpnet", "mobile", "quantize"])
def test_a_package_is_the_installed_one(package: str) -> None:
    module = importlib.import_module(package)
    assert Path(module.__path__[0]).is_relative_to(sys.prefix)


def test_torch_is_there_on_python_3_11_alone() -> None:
    assert (importlib.util.find_spec("torch") is None) is WITHOUT_TORCH


@pytest.mark.parametrize(
    "script", ["mobile/raspberry_pi/install.sh", "mobile/targets/vgf_emulation.sh"]
)
def test_a_script_can_be_run(script: str) -> None:
    package, _, name = script.rpartition("/")
    folder = importlib.import_module(package.replace("/", ".")).__path__[0]
    assert os.access(Path(folder, name), os.X_OK)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_has_a_help(tmp_path: Path, command: str) -> None:
    result = run(tmp_path, command, "--help")
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(f"Usage: cbpnet-mobile {command}")


def test_the_version_is_the_package_s(tmp_path: Path) -> None:
    assert run(tmp_path, "--version").stdout == f"cbpnet-mobile {version('cbpnet-mobile')}\n"


def test_the_service_is_printed(tmp_path: Path) -> None:
    assert "\nExecStart=" in run(tmp_path, "watch", "--service").stdout


@pytest.mark.parametrize(
    "command",
    [
        ["demo", "--out", "demo"],
        ["export", "--target", "xnnpack", "--out", "x.pte"],
        ["train", "--dataset", "digits", "--out", "x.safetensors"],
    ],
)
def test_what_needs_a_pc_names_the_extra(tmp_path: Path, command: list[str]) -> None:
    result = run(tmp_path, *command)
    assert result.returncode == 1
    assert result.stderr.startswith("error: ")
    assert "pip install 'cbpnet-mobile[export]'" in result.stderr
    assert result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
