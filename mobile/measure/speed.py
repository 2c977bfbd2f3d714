"""How long a bundle's methods take on this machine, and how much memory they need."""

import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import numpy as np

from cbpnet.host.errors import InputError
from cbpnet.host.memory import peak_rss_mb, resident_mb
from cbpnet.host.processes import end_with
from cbpnet.method.state import HostState
from cbpnet.run.training import Progress
from mobile.device.program import Program, get_threads, set_threads
from mobile.measure.rounds import learn_and_classify, stored_state

__all__ = ["WARM_UP", "Memory", "Times", "Timing", "measure_memory", "measure_times"]

WARM_UP = 3  # rounds that are not counted

# Tensors of which a method takes a row for each image.
_OF_IMAGES = ("images", "query", "x", "before")
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Timing:
    """Milliseconds of one method's calls, of ``images`` images each, 0 for a method without.

    ``first_ms`` is the first call, which loads the method; the other figures are of warm calls.
    """

    images: int
    first_ms: float
    median_ms: float
    p5_ms: float
    p95_ms: float

    @property
    def images_per_second(self) -> float | None:
        """Images a second at the median; None for a method without."""
        return 1e3 * self.images / self.median_ms if self.images else None


@dataclass(frozen=True)
class Times:
    """How long a bundle takes.

    ``load_ms`` is reading and verifying the file and getting the state in it; ``methods`` has the
    methods by name, in the order in which they are called.
    """

    load_ms: float
    methods: dict[str, Timing]


@dataclass(frozen=True)
class Memory:
    """Resident memory of a process of its own, in megabytes (10^6 bytes).

    ``bare_mb`` is what the process has before it opens the bundle, with the runtime imported. The
    others are above that: ``peak_mb`` the peak of all, ``peak_after_mb`` the peak up to the end of
    loading and of each method's first call, in the order of the calls.
    """

    bare_mb: float
    peak_mb: float
    peak_after_mb: dict[str, float]


def measure_times(bundle: Path, runs: int, progress: Progress = lambda rounds: None) -> Times:
    """Return the times of ``runs`` warm calls of each method.

    The methods take turns, so that the machine's better and worse moments fall on all alike.

    Args:
        bundle: the `.pte` file.
        runs: rounds, in each of which every method is called once; at least 1. `WARM_UP` come
            before them.
        progress: is told the number of rounds that are done.

    Raises:
        InputError: ``runs`` is below 1, or the file cannot be used.
    """
    if runs < 1:
        raise InputError(f"runs is {runs}; it must be at least 1")
    get_threads()  # starts the runtime, whose import is not the bundle's time
    clock = _Clock()
    program, state = clock("load", _load, bundle, False)
    for _ in range(WARM_UP + runs):
        learn_and_classify(program, state, clock)
        progress(1)
    (load_ms,) = clock.samples.pop("load")
    return Times(
        load_ms,
        {
            method: _summarise(samples, _images(program, method))
            for method, samples in clock.samples.items()
        },
    )


def measure_memory(bundle: Path) -> Memory:
    """Return the memory of a fresh process that opens a bundle, learns and classifies.

    The runtime has as many threads there as here. The process imports the script that
    calls this, which must guard what it runs with ``if __name__ == "__main__"``.

    Raises:
        InputError: the file cannot be used, or the system ended the process.
    """
    try:
        with ProcessPoolExecutor(
            1, get_context("spawn"), initializer=_begin, initargs=(os.getpid(),)
        ) as process:
            return process.submit(_measure_own_memory, bundle, get_threads()).result()
    except BrokenProcessPool as error:
        raise InputError(
            f"the process that measures the memory of bundle {bundle} was ended by the system, "
            "most likely for lack of memory; close other programs, or measure on a machine with "
            "more of it"
        ) from error


def _begin(parent: int) -> None:
    """Leave it to the parent to hear that both are to end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with(parent)


def _measure_own_memory(bundle: Path, threads: int) -> Memory:
    """Measure this process, which has done nothing else."""
    set_threads(threads)
    gauge = _Gauge()
    program, state = gauge("load", _load, bundle, True)
    learn_and_classify(program, state, gauge)
    first = dict(gauge.peaks)
    learn_and_classify(program, state, gauge)
    return Memory(gauge.bare_mb, gauge.peak_mb, first)


class _Clock:
    """Keeps the milliseconds of every call, by method."""

    def __init__(self) -> None:
        self.samples: dict[str, list[float]] = {}

    def __call__(
        self, method: str, function: Callable[..., _Result], *arguments: object
    ) -> _Result:
        start = time.perf_counter()
        result = function(*arguments)
        self.samples.setdefault(method, []).append(1e3 * (time.perf_counter() - start))
        return result


class _Gauge:
    """Keeps the peak so far after the last call, above what the process had at first, by method."""

    def __init__(self) -> None:
        self.bare_mb = resident_mb()
        self.peak_mb = 0.0
        self.peaks: dict[str, float] = {}

    def __call__(
        self, method: str, function: Callable[..., _Result], *arguments: object
    ) -> _Result:
        result = function(*arguments)
        # Linux counts pages in batches, so that the peak that it tells may fall by a few of them.
        self.peak_mb = max(self.peak_mb, peak_rss_mb() - self.bare_mb)
        self.peaks[method] = self.peak_mb
        return result


def _load(bundle: Path, by_phase: bool) -> tuple[Program, HostState]:
    program = Program(bundle, by_phase)
    return program, stored_state(program)


def _images(program: Program, method: str) -> int:
    """Return how many images, or features of as many, a call of a method takes."""
    inputs = program.manifest.methods[method].inputs
    return next((each.shape[0] for each in inputs if each.name in _OF_IMAGES), 0)


def _summarise(samples: list[float], images: int) -> Timing:
    p5, median, p95 = np.percentile(samples[WARM_UP:], [5, 50, 95]).tolist()
    return Timing(images, samples[0], median, p5, p95)
