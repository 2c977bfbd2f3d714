"""The installation script, with a Python that only says what it was asked for; and the unit."""

import configparser
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from mobile.cli import main

FOLDER = Path(__file__).resolve().parents[3] / "mobile" / "raspberry_pi"
# It stands for python3.11 and, by a link, for the environment's own.
FAKE = """\
#!{python}
import json, os, shutil, sys
arguments = sys.argv[1:]
if arguments[0] == "-c" and "get_threads" not in arguments[1]:
    os.execv({python!r}, [{python!r}, *arguments])
if arguments[:2] == ["-m", "venv"]:
    os.makedirs(arguments[-1] + "/bin", exist_ok=True)
    shutil.copy(__file__, arguments[-1] + "/bin/python")
if "--dry-run" in arguments:
    print(json.dumps({{"install": [{{"metadata": {{"name": name}}}} for name in {drawn!r}]}}))
with open({log!r}, "a") as file:
    file.write(" ".join(arguments) + "\\n")
"""


@pytest.fixture
def install(tmp_path: Path) -> Callable[..., tuple[subprocess.CompletedProcess[str], list[str]]]:
    """Run the script with a pip that would draw these packages; return what it asked for."""
    if shutil.which("bash") is None:
        pytest.skip("needs bash")

    def run(*arguments: object, drawn: tuple[str, ...] = ("torch", "sympy"), python: str = ""):
        fake, log = tmp_path / "fake", tmp_path / "log"
        fake.write_text(FAKE.format(python=sys.executable, drawn=list(drawn), log=str(log)))
        fake.chmod(0o755)
        log.write_text("")
        result = subprocess.run(
            ["bash", str(FOLDER / "install.sh"), *map(str, arguments)],
            capture_output=True,
            text=True,
            env=os.environ | {"PYTHON": python or str(fake)},
        )
        return result, log.read_text().splitlines()

    return run


def test_what_is_installed_in_which_order(install, tmp_path: Path) -> None:
    result, asked = install(tmp_path / "env", "--torch-index", "INDEX")
    assert result.returncode == 0, result.stderr
    pips = [line.removeprefix("-m pip install --quiet ") for line in asked if "-m pip" in line]
    checkout = FOLDER.parents[1]
    assert pips == [
        "--dry-run --report - --index-url INDEX torch==2.13.0",
        "--index-url INDEX torch==2.13.0",
        str(checkout),
        "--no-deps executorch==1.4.1",
    ]
    assert asked[1] == f"-m venv {tmp_path / 'env'}"
    assert "get_threads" in asked[-1]
    assert not (tmp_path / "env" / "tmp").exists()


def test_a_camera_needs_the_systems_packages_and_an_older_numpy(install, tmp_path: Path) -> None:
    result, asked = install("--camera", tmp_path / "env")
    assert result.returncode == 0, result.stderr
    assert f"-m venv --system-site-packages {tmp_path / 'env'}" in asked
    assert f"-m pip install --quiet {FOLDER.parents[1]} numpy<2" in asked
    assert "-m pip install --quiet torch==2.13.0" in asked


@pytest.mark.parametrize("package", ["nvidia-cublas-cu13", "cuda-bindings", "nvidia-nccl"])
def test_a_cuda_build_is_refused_before_it_is_downloaded(install, tmp_path, package) -> None:
    result, asked = install(tmp_path / "env", drawn=("torch", package))
    assert result.returncode == 1
    assert "error: pip would install a CUDA build of torch" in result.stderr
    assert not [line for line in asked if "install" in line and "--dry-run" not in line]


@pytest.mark.parametrize(
    ("arguments", "status", "reason"),
    [
        ([], 2, "install.sh ENVIRONMENT"),
        (["--torch"], 1, "the option --torch is unknown"),
        (["a", "b"], 1, "two environments were named, a and b"),
        (["a", "--torch-index"], 1, "--torch-index needs an address"),
    ],
)
def test_wrong_usage_is_one_sentence(install, arguments, status, reason) -> None:
    result, asked = install(*arguments)
    assert result.returncode == status
    assert reason in result.stderr
    assert asked == []


def test_another_python_is_refused(install, tmp_path: Path) -> None:
    result, _ = install(tmp_path / "env", python="/bin/false")
    assert result.returncode == 1
    assert "error: Python 3.11 is needed and /bin/false is not that" in result.stderr
    assert not (tmp_path / "env").exists()


def test_help_is_the_scripts_own_comment(install) -> None:
    result, _ = install("--help")
    assert result.returncode == 0
    assert result.stdout.startswith("Installs what a board needs")
    assert result.stdout.rstrip().endswith("which needs numpy below 2")


def test_the_unit_restarts_whatever_ends_it_and_calls_a_command_that_exists() -> None:
    unit = configparser.ConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment]
    unit.read(FOLDER / "cbpnet-watch.service")
    service = unit["Service"]
    assert service["Restart"] == "always"
    assert service["SuccessExitStatus"] == "143"
    program, command, *arguments = service["ExecStart"].split()
    assert Path(program).name == "cbpnet-mobile"
    watch = main.get_command(click.Context(main), command)
    assert watch is not None
    options = watch.make_context("watch", arguments).params
    assert {options[name].is_absolute() for name in ("path", "inbox", "state")} == {False}
    assert service["WorkingDirectory"] == f"/var/lib/{service['StateDirectory']}"
