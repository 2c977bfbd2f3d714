"""Trials in processes of their own: what became of each."""

import json
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from cbpnet.host.errors import InputError

__all__ = ["BAD", "Limits", "Outcome", "run_trial"]

BAD = ("traceback", "died", "hung", "large", "not a number")


@dataclass(frozen=True)
class Limits:
    """What a trial may take: seconds, of which a processor's count, and bytes above a usual one."""

    seconds: float
    memory: int


@dataclass(frozen=True)
class Outcome:
    """What became of a trial: refused, answered, or one of `BAD`; and the most memory it had."""

    kind: str
    said: str
    answers: tuple[float, ...]
    memory: int


def run_trial(work: Callable[[], list[float]], limits: Limits) -> Outcome:
    """Do some work in a forked process, and return what became of it.

    Its answers are not to be numbers that are none, and its only exception `InputError`.
    """
    ours, theirs = os.pipe()
    child = os.fork()
    if not child:
        os.close(ours)
        _work(work, theirs, limits)
    os.close(theirs)
    heard = _hear(ours, time.monotonic() + 12 * limits.seconds)  # a sleeping process counts none
    if heard is None:
        os.kill(child, signal.SIGKILL)
    _, status, used = os.wait4(child, 0)
    memory = used.ru_maxrss * 1024
    end = os.waitstatus_to_exitcode(status)
    if heard is None or end == -signal.SIGXCPU:
        return Outcome("hung", f"over {limits.seconds} s", (), memory)
    if end < 0:
        return Outcome("died", signal.Signals(-end).name, (), memory)
    if not heard:
        return Outcome("died", f"exit status {end}", (), memory)
    kind, said, answers = json.loads(heard)
    if kind == "answered" and not np.isfinite(answers).all():
        kind = "not a number"
    if memory > limits.memory:
        kind, said = "large", f"{kind}, {memory >> 20} MB: {said}"
    return Outcome(kind, said, tuple(answers), memory)


def _work(work: Callable[[], list[float]], pipe: int, limits: Limits) -> None:
    """Do the work, tell the outcome, and end the process."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    second = int(limits.seconds)
    resource.setrlimit(resource.RLIMIT_CPU, (second, second + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        said = ("answered", "", work())
    except InputError as error:
        said = ("refused", str(error), [])
    except BaseException as error:
        where = sys.exc_info()[2]
        while where is not None and where.tb_next is not None:
            where = where.tb_next
        place = "" if where is None else f"{where.tb_frame.f_code.co_filename}:{where.tb_lineno}"
        said = ("traceback", f"{type(error).__name__}: {error} at {place}"[:1000], [])
    os.write(pipe, json.dumps(said).encode()[:60_000])
    os._exit(0)


def _hear(pipe: int, until: float) -> bytes | None:
    """Return what a process says before it ends, None where it has not ended by then."""
    heard = b""
    with os.fdopen(pipe, "rb", buffering=0) as file:
        while select.select([file], [], [], max(until - time.monotonic(), 0))[0]:
            piece = file.read(65536)
            if not piece:
                return heard
            heard += piece
    return None
