"""Commands that are killed at a moment that no load moves, and exports that are only planned."""

import copy
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest
from click.testing import CliRunner

from mobile.cli import export_job as job, main

KILLED = """
import os, signal, sys
from cbpnet.run import contender
from mobile.cli import main

learn, killed_task = contender.learn_task, int(sys.argv.pop(1))

def learn_or_die(learner, state, task, *rest):
    *settings, progress = rest
    if task == killed_task:
        progress = lambda images: os.kill(os.getpid(), signal.SIGKILL)
    return learn(learner, state, task, *settings, progress)

contender.learn_task = learn_or_die
main()
"""


@pytest.fixture(scope="session")
def run_killed() -> Callable[..., None]:
    """Run a command in a process of its own, and kill it in the middle of a task's first epoch."""

    def run(task: int, *arguments: object) -> None:
        command = [sys.executable, "-c", KILLED, str(task), *map(str, arguments)]
        result = subprocess.run(command, capture_output=True, text=True)
        assert result.returncode == 128 + signal.SIGKILL, result.stderr

    return run


@pytest.fixture
def export(tmp_path):
    """Run the command with an output in a new folder; other options come after."""

    def run(*options):
        arguments = ["--target", "xnnpack", "--out", tmp_path / "out" / "x.pte", *options]
        return CliRunner().invoke(main, ["export", *map(str, arguments)])

    return run


@pytest.fixture
def calls(monkeypatch, small_backbone, fp32_export):
    """Load the small backbone, and record what is asked of `export_bundle` in place of doing it."""
    asked = []

    def pretend(*arguments):
        asked.append(arguments)
        return fp32_export

    monkeypatch.setattr(job, "load_backbone", lambda *_: copy.deepcopy(small_backbone))
    monkeypatch.setattr(job, "export_bundle", pretend)
    return asked
