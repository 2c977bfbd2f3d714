"""A command that is killed at a moment that no load of the machine moves."""

import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

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
        assert result.returncode == -signal.SIGKILL, result.stderr

    return run
