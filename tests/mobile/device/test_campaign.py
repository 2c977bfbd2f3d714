"""The campaign of hostile files and faults, run short, and that it tells each harm."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cbpnet.host.errors import InputError
from mobile.device.runtime import OnDeviceLearner
from tests.campaign.trials import Limits, run_trial
from tests.mobile.toy_pictures import toy_pictures

ROOT = Path(__file__).resolve().parents[3]
LIMITS = Limits(seconds=1, memory=1 << 40)


def campaign(*arguments: str) -> str:
    """Run the campaign, which does no harm, and return its table."""
    command = [sys.executable, "-m", "tests.campaign", *arguments]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def of(table: str, kind: str) -> int:
    """Return the last number of a table's row."""
    (row,) = [line for line in table.splitlines() if line.startswith(f"| {kind} ")]
    return int(row.split("|")[-2])


@pytest.fixture
def state(one_pass_bundle: Path, tmp_path: Path) -> Path:
    learner = OnDeviceLearner(one_pass_bundle)
    learner.learn({"red": toy_pictures("red", 3), "black": toy_pictures("black", 3)}, keep=2)
    learner.rename("red", "rot")
    learner.save(tmp_path / "pets.safetensors")
    return tmp_path / "pets.safetensors"


def test_hostile_bundles_do_no_harm(one_pass_bundle: Path) -> None:
    names = ("--bundle", str(one_pass_bundle), "--count", "40", "--seconds", "60")
    table = campaign("files", "bundles", *names)
    assert of(table, "refused") > 20


def test_hostile_states_do_no_harm(one_pass_bundle: Path, state: Path) -> None:
    names = ("--bundle", str(one_pass_bundle), "--state", str(state))
    table = campaign("files", "states", *names, "--count", "60", "--seconds", "60")
    assert of(table, "refused") > 30


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["--kill", "--fail"])
def test_faults_at_calls_do_no_harm(one_pass_bundle: Path, fault: str) -> None:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed: apt-get install strace")
    if subprocess.run(["strace", "-o", os.devnull, "true"], capture_output=True).returncode:
        pytest.skip("strace may not trace here")
    table = campaign("faults", "--bundle", str(one_pass_bundle), fault, "--count", "9")
    assert of(table, "old state") + of(table, "new state") == 9


def _end() -> list[float]:
    os.kill(os.getpid(), signal.SIGSEGV)
    return []


def _hang() -> list[float]:
    while True:
        pass


def _fail() -> list[float]:
    raise KeyError("a")


def _refuse() -> list[float]:
    raise InputError("no")


@pytest.mark.parametrize(
    ("work", "kind"),
    [
        (lambda: [0.5], "answered"),
        (_refuse, "refused"),
        (_fail, "traceback"),
        (_end, "died"),
        (_hang, "hung"),
        (lambda: [float("nan")], "not a number"),
    ],
)
def test_a_trial_tells_what_became_of_it(work: Callable[[], list[float]], kind: str) -> None:
    assert run_trial(work, LIMITS).kind == kind


def test_a_trial_tells_memory() -> None:
    limits = Limits(seconds=60, memory=run_trial(lambda: [0.5], LIMITS).memory + (50 << 20))
    assert run_trial(lambda: [float(len(b"a" * (200 << 20)))], limits).kind == "large"
