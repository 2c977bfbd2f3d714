"""A peer in a process of its own, which computes when it is its turn and sleeps otherwise.

Each runtime keeps threads that spin for a while after a call; in one process they would disturb
one another.
"""

import importlib
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.step import Step, load_step
from cbpnet.host.memory import peak_rss_mb

__all__ = ["AbsentError", "Assignment", "Operations", "Worker", "log_errors"]

# What a peer can do, by name; each takes the number of its turn, which chooses the images.
Operations = dict[str, Callable[[int], dict[str, Tensor]]]


_LEARNING = ("gradients", "update")


class AbsentError(Exception):
    """A peer that cannot be run here; the message says why."""


@dataclass(frozen=True)
class Assignment:
    """What a worker is to be.

    ``module`` has `start(threads)`, which imports the runtime, and `load(step, program, variant)`,
    which returns the operations; ``program`` is the file that was made for it, if any.
    """

    module: str
    variant: str
    step: Path
    program: Path | None
    threads: int


class Worker:
    """The parent's end of a peer's process.

    Attributes:
        operations: their names.
        load_ms: milliseconds until the operations were there, the runtime being imported.
        learning_mb: the peak memory of loading and of two learning steps, in MB of 10^6 bytes above
            the process with its runtime imported.

    Raises:
        AbsentError: the peer cannot be run here.
    """

    def __init__(self, assignment: Assignment) -> None:
        context = get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, assignment), daemon=True)
        self._process.start()
        theirs.close()
        self.operations: tuple[str, ...]
        self.operations, self.load_ms, self.learning_mb = self._receive()

    def times(self, operation: str, turn: int, warm: int, calls: int) -> list[float]:
        """Return the milliseconds of calls after ``warm`` ones that are not counted."""
        self._connection.send(("times", operation, turn, warm, calls))
        times: list[float] = self._receive()
        return times

    def outputs(self, operation: str, turn: int) -> dict[str, Tensor]:
        """Return what an operation gives."""
        self._connection.send(("outputs", operation, turn))
        return {name: torch.from_numpy(value) for name, value in self._receive().items()}

    def close(self) -> None:
        """End the process."""
        self._connection.close()
        self._process.join()

    def _receive(self) -> Any:
        try:
            kind, content = self._connection.recv()
        except EOFError:
            raise AbsentError("its process ended without a word") from None
        if kind == "absent":
            raise AbsentError(content)
        return content


def log_errors(path: Path) -> None:
    """Let what this process says on its standard error go to the end of a file.

    Runtimes and exporters talk a lot, past Python's own streams.
    """
    with path.open("ab") as file:
        os.dup2(file.fileno(), sys.stderr.fileno())


def _serve(connection: Connection, assignment: Assignment) -> None:
    """Answer the parent until it hangs up."""
    log_errors(assignment.step.with_name("workers.log"))
    try:
        operations, *figures = _load(assignment)
    except Exception as error:  # a foreign runtime's failures are of every kind
        reason = (str(error).splitlines() or [""])[0]
        connection.send(("absent", f"{type(error).__name__}: {reason}"))
        return
    connection.send(("done", (tuple(operations), *figures)))
    while True:
        try:
            kind, operation, turn, *counts = connection.recv()
        except EOFError:
            return
        if kind == "outputs":
            found = operations[operation](turn)
            answer: Any = {name: value.detach().numpy() for name, value in found.items()}
        else:
            answer = _time(operations[operation], turn, *counts)
        connection.send(("done", answer))


def _load(assignment: Assignment) -> tuple[Operations, float, float]:
    """Return the operations, the milliseconds of loading and the memory of learning."""
    step: Step = load_step(assignment.step)
    peer: Any = importlib.import_module(assignment.module)
    peer.start(assignment.threads)
    _forget_peak()
    bare = peak_rss_mb()
    begin = time.perf_counter()
    operations: Operations = peer.load(step, assignment.program, assignment.variant)
    load_ms = 1e3 * (time.perf_counter() - begin)
    for turn in range(2):
        for operation in _LEARNING:
            if operation in operations:
                operations[operation](turn)
    return operations, load_ms, peak_rss_mb() - bare


def _forget_peak() -> None:
    """Let the peak begin anew at what is resident now; where the system cannot, it stays."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _time(
    operation: Callable[[int], dict[str, Tensor]], turn: int, warm: int, calls: int
) -> list[float]:
    times = []
    for number in range(warm + calls):
        begin = time.perf_counter()
        operation(turn + number)
        times.append(1e3 * (time.perf_counter() - begin))
    return times[warm:]
