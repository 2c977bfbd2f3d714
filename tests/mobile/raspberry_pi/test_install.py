"""The installation script, with a Python that only says what it was asked for; and the unit."""

import configparser
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import mobile.raspberry_pi
from mobile.cli import main

FOLDER = Path(mobile.raspberry_pi.__path__[0])
# It stands for the interpreter and, copied, for the environment's own; `posing` alters what it is.
FAKE = """\
#!{python}
import json, os, shutil, sys
arguments = sys.argv[1:]
if arguments[0] == "-c" and "get_threads" not in arguments[1]:
    code = "import sys\\n" + {posing!r} + "\\n" + arguments[1]
    os.execv({python!r}, [{python!r}, "-c", code, *arguments[2:]])
if arguments[:2] == ["-m", "venv"]:
    os.makedirs(arguments[-1] + "/bin", exist_ok=True)
    shutil.copy(__file__, arguments[-1] + "/bin/python")
if "--dry-run" in arguments:
    print(json.dumps({{"install": [{{"metadata": {{"name": name}}}} for name in {drawn!r}]}}))
if "download" in arguments:
    open(arguments[arguments.index("--dest") + 1] + "/torch-2.whl", "w").close()
with open({log!r}, "a") as file:
    file.write(" ".join(arguments) + "\\n")
"""
ON_311 = "sys.version_info = (3, 11, 2)"
ON_313 = "sys.version_info = (3, 13, 5)"


@pytest.fixture
def install(tmp_path: Path) -> Callable[..., tuple[subprocess.CompletedProcess[str], list[str]]]:
    """Run the script with a pip that would draw these packages; return what it asked for."""
    if shutil.which("bash") is None:
        pytest.skip("needs bash")

    def run(*arguments: object, drawn: tuple[str, ...] = ("torch", "sympy"), posing: str = ON_311):
        fake, log = tmp_path / "fake", tmp_path / "log"
        content = FAKE.format(python=sys.executable, posing=posing, drawn=list(drawn), log=str(log))
        fake.write_text(content)
        fake.chmod(0o755)
        log.write_text("")
        given = [] if "--python" in arguments else ["--python", str(fake)]
        result = subprocess.run(
            ["bash", str(FOLDER / "install.sh"), *map(str, arguments), *given],
            capture_output=True,
            text=True,
        )
        return result, log.read_text().splitlines()

    return run


def pips(asked: list[str]) -> list[str]:
    """What pip was asked for, but for what all of it has."""
    said = [line.removeprefix("-m pip ") for line in asked if line.startswith("-m pip ")]
    return [line.removeprefix("install ").replace("--quiet ", "") for line in said]


def test_on_python_3_11_torch_comes_from_its_index_and_executorch_comes_alone(
    install, tmp_path: Path
) -> None:
    temporary = tmp_path / "env" / "tmp"
    result, asked = install(tmp_path / "env", "--torch-index", "INDEX", "--from", "x.whl")
    assert result.returncode == 0, result.stderr
    assert pips(asked) == [
        "--upgrade --no-deps x.whl",
        "--dry-run --report - --index-url INDEX torch==2.13.0",
        f"download --no-deps --dest {temporary} --index-url INDEX torch==2.13.0",
        f"--upgrade {temporary}/torch-2.whl x.whl",
        "--no-deps executorch==1.4.1",
    ]
    assert asked[1] == f"-m venv {tmp_path / 'env'}"
    assert "get_threads" in asked[-1]
    assert not temporary.exists()


def test_on_a_later_python_pip_needs_no_help(install, tmp_path: Path) -> None:
    result, asked = install(tmp_path / "env", "--from", "x.whl", posing=ON_313)
    assert result.returncode == 0, result.stderr
    assert pips(asked) == ["--upgrade x.whl"]
    assert "get_threads" in asked[-1]


def test_a_checkout_installs_itself(install, tmp_path: Path) -> None:
    source = FOLDER.parents[1]
    if not (source / "pyproject.toml").exists():
        source = "cbpnet-mobile"  # the script of an installed package
    _, asked = install(tmp_path / "env", posing=ON_313)
    assert pips(asked) == [f"--upgrade {source}"]


@pytest.mark.parametrize(
    ("posing", "wanted"), [(ON_311, "torch-2.whl x.whl numpy<2"), (ON_313, "--upgrade x.whl")]
)
def test_a_camera_needs_the_systems_packages(install, tmp_path, posing, wanted) -> None:
    result, asked = install("--camera", tmp_path / "env", "--from", "x.whl", posing=posing)
    assert result.returncode == 0, result.stderr
    assert f"-m venv --system-site-packages {tmp_path / 'env'}" in asked
    assert any(line.endswith(wanted) for line in pips(asked))


@pytest.mark.parametrize("package", ["nvidia-cublas-cu13", "cuda-bindings", "nvidia-nccl"])
def test_a_cuda_build_is_refused_before_it_is_downloaded(install, tmp_path, package) -> None:
    result, asked = install(tmp_path / "env", drawn=("torch", package))
    assert result.returncode == 1
    assert "error: pip would install a CUDA build of torch" in result.stderr
    assert [line for line in pips(asked) if "torch" in line] == [
        "--dry-run --report - torch==2.13.0"
    ]


@pytest.mark.parametrize(
    ("arguments", "status", "reason"),
    [
        ([], 2, "install.sh ENVIRONMENT"),
        (["--torch"], 1, "the option --torch is unknown"),
        (["a", "b"], 1, "two environments were named, a and b"),
        (["--python", "x", "a", "--torch-index"], 1, "--torch-index needs a value"),
    ],
)
def test_wrong_usage_is_one_sentence(install, arguments, status, reason) -> None:
    result, asked = install(*arguments)
    assert result.returncode == status
    assert reason in result.stderr
    assert asked == []


@pytest.mark.parametrize("posing", ["sys.version_info = (3, 10, 9)", "sys.exit(1)"])
def test_an_older_python_is_refused(install, tmp_path: Path, posing: str) -> None:
    result, _ = install(tmp_path / "env", posing=posing)
    assert result.returncode == 1
    fake = tmp_path / "fake"
    assert f"error: Python 3.11 or later is needed and {fake} is not that" in result.stderr
    assert not (tmp_path / "env").exists()


@pytest.mark.parametrize(
    ("base", "environment", "noted"),
    [
        ("home/anna/python", "usr/local/lib/cbpnet", True),
        ("root/python", "usr/local/lib/cbpnet", True),
        ("home/anna/python", "home/anna/cbpnet", False),
        ("usr", "usr/local/lib/cbpnet", False),
    ],
)
def test_a_python_that_the_service_does_not_see_is_said(
    install, tmp_path, base, environment, noted
) -> None:
    posing = f"{ON_313}; sys.base_prefix = '/{base}'; sys.prefix = '/{environment}'"
    result, _ = install(tmp_path / "env", posing=posing)
    assert result.returncode == 0, result.stderr
    assert (f"note: its Python lies in /{base}, which" in result.stdout) is noted


def test_help_is_the_scripts_own_comment(install) -> None:
    result, _ = install("--help")
    assert result.returncode == 0
    assert result.stdout.startswith("Installs the device's side")
    assert result.stdout.rstrip().endswith("on 3.11 that needs numpy below 2")


def test_the_unit_restarts_after_a_failure_and_calls_a_command_that_exists() -> None:
    unit = configparser.ConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment]
    unit.read(FOLDER / "cbpnet-watch.service")
    service = unit["Service"]
    assert service["Restart"] == "on-failure"
    assert unit["Unit"]["StartLimitIntervalSec"] == "0"
    assert service["SuccessExitStatus"] == "143"
    program, command, *arguments = service["ExecStart"].split()
    assert Path(program).name == "cbpnet-mobile"
    watch = main.get_command(click.Context(main), command)
    assert watch is not None
    options = watch.make_context("watch", arguments).params
    assert {options[name].is_absolute() for name in ("path", "inbox", "state")} == {False}
    assert service["WorkingDirectory"] == f"/var/lib/{service['StateDirectory']}"


def test_the_command_prints_the_unit() -> None:
    result = CliRunner().invoke(main, ["watch", "--service"])
    assert result.exit_code == 0
    assert result.stdout == (FOLDER / "cbpnet-watch.service").read_text("utf-8")
