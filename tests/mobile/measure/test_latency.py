"""What a measurement of a board consists of, and what a soak is judged by."""

from contextlib import nullcontext
from dataclasses import replace
from itertools import accumulate
from pathlib import Path

import pytest

from cbpnet.host.errors import InputError
from mobile.device.program import Program, get_threads
from mobile.measure import latency
from mobile.measure.latency import Phase, Plan, Window, judge_soak, measure_latency
from mobile.measure.meter import Reading
from mobile.measure.sampling import Sample
from mobile.measure.speed import Memory

PLAN = Plan(threads=(1, 2), runs=2, soak=1.25, rest=0.125)
SOAK = Phase("soak", 10.0, 20.0)
CALL = 1 / 64  # seconds, whose sums are exact
DATE = 2.0**30  # when the monotonic clock stood at 0


class Clock:
    """Time that stands still but in sleeps and calls of a program; after each is a sample."""

    def __init__(self) -> None:
        self.now = 100.0
        self.set_by = 0.0
        self.samples: list[Sample] = []

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return DATE + self.now + self.set_by

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.samples.append(sample(self.now))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock, real = Clock(), Program.call

    def call(*arguments):
        clock.sleep(CALL)
        return real(*arguments)

    monkeypatch.setattr(Program, "call", call)
    monkeypatch.setattr(latency, "time", clock)
    monkeypatch.setattr(latency, "Monitor", lambda interval: nullcontext(clock))
    # Memory is `mobile.measure.speed`'s, and tested there.
    monkeypatch.setattr(latency, "measure_memory", lambda path: Memory(200.0, get_threads(), {}))
    return clock


def sample(seconds: float, flags: int | None = None, watts: float | None = None) -> Sample:
    return Sample(seconds, 50.0, 1500.0, flags, watts, 1000.0, 0.0)


def windows(*speeds: float) -> list[Window]:
    return [Window(float(number), speed) for number, speed in enumerate(speeds)]


def test_a_whole_measurement(bundle: Path, clock: Clock) -> None:
    parts: list[tuple[str, int]] = []
    done: list[int] = []

    def start_part(name: str, steps: int):
        parts.append((name, steps))
        return done.append

    found = measure_latency(bundle, PLAN, start_part)
    # The state in the bundle, then six methods in two rounds and three that are not counted.
    methods = (1 + 6 * (2 + 3)) * CALL
    # A state, a query, its statistics and a task; then two rounds of four methods a window.
    windows = [(1 + number) * 2 * 4 * CALL for number in range(10)]
    lengths = {
        "resting before": 0.125,
        "threads 1": methods,
        "threads 2": methods,
        "soak": 4 * CALL + windows[-1],
        "resting after": 0.125,
    }
    ends = list(accumulate(lengths.values(), initial=0.0))
    assert found.phases == tuple(map(Phase, lengths, ends, ends[1:]))
    assert parts == list(zip(lengths, [1, 5, 5, 1, 1], strict=True))
    assert sum(done) == 1 + 5 + 5 + 1 + 1
    assert [at.threads for at in found.at] == [1, 2]
    assert [at.memory.peak_mb for at in found.at] == [1, 2]
    assert found.micro_batch == 2
    assert [one.seconds for one in found.samples] == [one.seconds - 100 for one in clock.samples]
    assert (found.samples[0].seconds, found.samples[-1].seconds) == (0.125, ends[-1])
    assert found.soak is not None
    assert found.soak.threads == 2
    # Two rounds of a micro-batch of two images in 8 / 64 s are 32 images a second.
    assert found.soak.windows == tuple(Window(seconds, 32.0) for seconds in windows)
    assert found.clock_jump == 0


def test_without_a_soak(bundle: Path, clock: Clock) -> None:
    found = measure_latency(bundle, replace(PLAN, threads=(1,), soak=0), lambda *_: lambda _: None)
    assert found.soak is None
    assert [phase.name for phase in found.phases] == [
        "resting before",
        "threads 1",
        "resting after",
    ]


def test_a_clock_that_jumps_moves_nothing_but_the_meter(
    bundle: Path, clock: Clock, tmp_path: Path
) -> None:
    def jump(*_):
        clock.set_by = 3600.0
        return lambda _: None

    meter = tmp_path / "meter.csv"
    meter.write_text(f"time,watts\n{clock.time() + 0.125},5\n")
    plan = replace(PLAN, threads=(1,), soak=0, meter=meter)
    found = measure_latency(bundle, plan, jump)
    assert found.clock_jump == 3600
    assert found.phases[-1].end == 0.125 + 31 * CALL + 0.125
    assert found.power == ()
    assert found.power_source == "none: the clock was set by +3600 s, so meter.csv fits no time"


def test_the_meter_is_read_within_the_measurement(
    bundle: Path, clock: Clock, tmp_path: Path
) -> None:
    meter = tmp_path / "meter.csv"
    rows = {-60.0: 9, 0.125: 5, 0.25: 6, 600.0: 9}
    lines = [f"{clock.time() + seconds},{watts}\n" for seconds, watts in rows.items()]
    meter.write_text("".join(["time,watts\n", *lines]))
    plan = replace(PLAN, threads=(1,), soak=0, meter=meter)
    found = measure_latency(bundle, plan, lambda *_: lambda _: None)
    assert found.power == (Reading(0.125, 5.0), Reading(0.25, 6.0))
    assert found.power_source == "meter meter.csv"
    meter.write_text("when,watts\n1,1\n")
    with pytest.raises(InputError, match=r"meter\.csv has the columns \['when', 'watts'\]; right"):
        measure_latency(bundle, plan, lambda *_: lambda _: None)
    # A file that is bad at the end only does not take the measurement with it.
    meter.unlink()
    found = measure_latency(bundle, plan, lambda *_: lambda _: None)
    assert found.power == ()
    assert "meter.csv cannot be read" in (found.power_source or "")


@pytest.mark.parametrize(
    ("before", "during", "after", "throttled", "flags", "earlier"),
    [
        (None, (None, None), None, None, (), ()),
        (0x0, (0x0, 0x0), 0x0, False, (), ()),
        (0x0, (0x0, 0x20002), 0x20000, True, ("clock capped",), ()),
        # Between two samples: only the bits that stay until the board starts again tell.
        (0x0, (0x0, 0x80000), 0x80000, True, ("soft temperature limit",), ()),
        (0x0, (0x0, 0x0), 0x10000, True, ("under-voltage",), ()),
        # Before the measurement, and not again.
        (0x50000, (0x50000, 0x50000), 0x50000, False, (), ("under-voltage", "throttled")),
        (
            0x50000,
            (0x50004, 0x50000),
            0x50000,
            True,
            ("throttled",),
            ("under-voltage", "throttled"),
        ),
    ],
)
def test_the_flags_tell_whether_it_throttled(before, during, after, throttled, flags, earlier):
    samples = [
        sample(1.0, before),
        sample(12.0, during[0]),
        sample(18.0, during[1]),
        sample(25.0, after),
    ]
    soak = judge_soak(4, windows(), SOAK, samples)
    assert (soak.throttled, soak.flags, soak.earlier) == (throttled, flags, earlier)


def test_the_speed_tells_how_much_slower_it_became() -> None:
    speeds = (10.0, 12.0, 11.0, 9.0, 9.0, 9.0, 9.0, 9.0, 4.0, 5.0)
    soak = judge_soak(4, windows(*speeds), SOAK, [])
    assert soak.slowdown == pytest.approx(1 - 4.5 / 11.0)
    assert judge_soak(4, windows(1.0, 2.0), SOAK, []).slowdown is None
