"""How fast a bundle is on a board, at each number of threads, and whether the board stands it."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from cbpnet.host.errors import InputError
from cbpnet.run.training import Progress
from mobile.device.program import Program, set_threads
from mobile.measure.meter import Reading, read_meter
from mobile.measure.rounds import steady_round
from mobile.measure.sampling import SINCE_START, Monitor, Sample, flag_names
from mobile.measure.speed import WARM_UP, Memory, Timing, measure_memory, measure_times

__all__ = [
    "AtThreads",
    "Latency",
    "Phase",
    "Plan",
    "Soak",
    "Window",
    "judge_soak",
    "measure_latency",
]

_SHARE = 0.2  # of a soak's windows, at either end, that tell whether it became slower
_WINDOW = 5.0  # seconds
_JUMP = 2.0  # seconds that the clock may go astray; more is a jump


@dataclass(frozen=True)
class Plan:
    """What is to be measured.

    ``threads`` are the numbers of threads, ``runs`` the warm calls of each method at each of them.
    The soak, at the highest number, takes ``soak`` seconds, none if 0. The board rests for ``rest``
    seconds before and after, and is sampled every ``interval`` seconds all along. ``meter`` is the
    file of a power meter, read at the end.
    """

    threads: tuple[int, ...]
    runs: int
    soak: float
    rest: float = 5.0
    interval: float = 1.0
    meter: Path | None = None


@dataclass(frozen=True)
class AtThreads:
    """What a number of threads gives: see `mobile.measure.speed`."""

    threads: int
    load_ms: float
    methods: dict[str, Timing]
    memory: Memory


@dataclass(frozen=True)
class Window:
    """A few seconds of a soak: when they ended, and the images learnt and classified a second."""

    seconds: float
    images_per_second: float


@dataclass(frozen=True)
class Soak:
    """Minutes of learning and classifying without a pause.

    ``throttled`` says whether the firmware raised a flag meanwhile, None where it tells nothing;
    ``flags`` are those in words and ``earlier`` the ones that had been up since the board started.
    ``slowdown`` is how much slower the last fifth was than the first, as a share; None for a soak
    too short to tell.
    """

    threads: int
    windows: tuple[Window, ...]
    throttled: bool | None
    flags: tuple[str, ...]
    earlier: tuple[str, ...]
    slowdown: float | None


@dataclass(frozen=True)
class Phase:
    """A part of the measurement, in seconds since its beginning."""

    name: str
    start: float
    end: float


@dataclass(frozen=True)
class Latency:
    """Everything that `measure_latency` finds; its times count from the beginning.

    ``power`` is the meter's, else the board's own, and empty where neither tells.
    ``clock_jump`` is by how many seconds the date was set meanwhile, which moves no figure.
    """

    micro_batch: int
    runs: int
    warm_up: int
    at: tuple[AtThreads, ...]
    soak: Soak | None
    phases: tuple[Phase, ...]
    samples: tuple[Sample, ...]
    power: tuple[Reading, ...]
    power_source: str | None
    clock_jump: float


def measure_latency(
    bundle: Path, plan: Plan, start_part: Callable[[str, int], Progress]
) -> Latency:
    """Measure a bundle on this board; the caller must guard what it runs with ``__main__``.

    Args:
        bundle: the `.pte` file.
        plan: what is to be measured.
        start_part: is told the name of each part and the steps that it has, and gives what is told
            of those that are done.

    Raises:
        InputError: the bundle or the meter's file cannot be used.
    """
    if plan.meter is not None and plan.meter.exists():
        read_meter(plan.meter)  # what is wrong with it is better said now
    begin, date = time.monotonic(), time.time()
    phases: list[Phase] = []

    def mark(name: str, start: float) -> None:
        phases.append(Phase(name, start - begin, time.monotonic() - begin))

    at, windows = [], list[Window]()
    with Monitor(plan.interval) as monitor:
        _rest(plan, "resting before", start_part, mark)
        for threads in plan.threads:
            start = time.monotonic()
            set_threads(threads)
            done = start_part(f"threads {threads}", WARM_UP + plan.runs)
            times = measure_times(bundle, plan.runs, done)
            at.append(AtThreads(threads, times.load_ms, times.methods, measure_memory(bundle)))
            mark(f"threads {threads}", start)
        if plan.soak:
            start = time.monotonic()
            windows = list(_soak(bundle, plan.soak, start_part("soak", int(plan.soak))))
            mark("soak", start)
        _rest(plan, "resting after", start_part, mark)
    jump = time.time() - date - (time.monotonic() - begin)
    samples = [replace(one, seconds=one.seconds - begin) for one in monitor.samples]
    power, source = _power(plan.meter, date, time.monotonic() - begin, jump, samples)
    soak = None
    if plan.soak:
        phase = next(phase for phase in phases if phase.name == "soak")
        soak = judge_soak(plan.threads[-1], windows, phase, samples)
    return Latency(
        micro_batch=next(iter(at[0].methods.values())).images,
        runs=plan.runs,
        warm_up=WARM_UP,
        at=tuple(at),
        soak=soak,
        phases=tuple(phases),
        samples=tuple(samples),
        power=tuple(power),
        power_source=source,
        clock_jump=jump if abs(jump) > _JUMP else 0.0,
    )


def _rest(
    plan: Plan,
    name: str,
    start_part: Callable[[str, int], Progress],
    mark: Callable[[str, float], None],
) -> None:
    start = time.monotonic()
    done = start_part(name, 1)
    time.sleep(plan.rest)
    done(1)
    mark(name, start)


def _soak(bundle: Path, seconds: float, progress: Progress) -> Iterator[Window]:
    """Learn and classify one micro-batch of random numbers over and over."""
    program = Program(bundle)
    learn, images = steady_round(program), program.manifest.micro_batch
    start = opened = time.monotonic()
    rounds = told = 0
    while opened - start < seconds:
        learn()
        rounds += 1
        now = time.monotonic()
        if now - opened >= min(_WINDOW, seconds / 10):
            yield Window(now - start, rounds * images / (now - opened))
            opened, rounds = now, 0
            done = min(int(now - start), int(seconds))
            progress(done - told)
            told = done


def judge_soak(
    threads: int, windows: Sequence[Window], phase: Phase, samples: Sequence[Sample]
) -> Soak:
    """Return the soak with what the firmware's flags and its own speed say of it.

    Args:
        threads: what it ran on.
        windows: its speed over time.
        phase: when it was.
        samples: those of the whole measurement.
    """
    words = [(one.seconds, one.flags) for one in samples if one.flags is not None]
    inside = [flags for seconds, flags in words if phase.start <= seconds <= phase.end]
    before = next((flags for _, flags in words), 0) >> SINCE_START
    after = next((flags for _, flags in reversed(words)), 0) >> SINCE_START
    raised = after & ~before
    for flags in inside:
        raised |= flags
    names = flag_names(raised)
    return Soak(
        threads=threads,
        windows=tuple(windows),
        throttled=bool(names) if inside else None,
        flags=names,
        earlier=flag_names(before),
        slowdown=_slowdown([window.images_per_second for window in windows]),
    )


def _slowdown(speeds: Sequence[float]) -> float | None:
    few = int(_SHARE * len(speeds))
    return 1 - median(speeds[-few:]) / median(speeds[:few]) if few else None


def _power(
    meter: Path | None, date: float, seconds: float, jump: float, samples: Sequence[Sample]
) -> tuple[list[Reading], str | None]:
    """Return the readings of the measurement's time, and whose they are."""
    if meter is not None:
        if abs(jump) > _JUMP:
            return (
                [],
                f"none: the clock was set by {jump:+.0f} s, so {meter.name} fits no time",
            )
        try:
            whole = read_meter(meter)
        except InputError as error:
            return [], f"none: {error}"
        readings = [
            Reading(reading.seconds - date, reading.watts)
            for reading in whole
            if 0 <= reading.seconds - date <= seconds
        ]
        return readings, f"meter {meter.name}" if readings else f"none: {meter.name} has no reading"
    readings = [Reading(one.seconds, one.watts) for one in samples if one.watts is not None]
    return readings, "the board's power chip, without what 5 V devices draw" if readings else None
