"""What a measurement of a board consists of, and what a soak is judged by."""

import time
from dataclasses import replace
from pathlib import Path

import pytest

from cbpnet.host.errors import InputError
from mobile.device.program import get_threads
from mobile.measure import latency
from mobile.measure.latency import Phase, Plan, Window, judge_soak, measure_latency
from mobile.measure.sampling import Sample
from mobile.measure.speed import Memory

PLAN = Plan(threads=(1, 2), runs=2, soak=0.4, rest=0.1, interval=0.05)
PARTS = ["resting before", "threads 1", "threads 2", "soak", "resting after"]
SOAK = Phase("soak", 10.0, 20.0)


@pytest.fixture(autouse=True)
def _one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is `mobile.measure.speed`'s, and tested there."""
    monkeypatch.setattr(latency, "measure_memory", lambda path: Memory(200.0, get_threads(), {}))


def sample(seconds: float, flags: int | None = None, watts: float | None = None) -> Sample:
    return Sample(seconds, 50.0, 1500.0, flags, watts, 1000.0, 0.0)


def windows(*speeds: float) -> list[Window]:
    return [Window(float(number), speed) for number, speed in enumerate(speeds)]


def test_a_whole_measurement(bundle: Path) -> None:
    parts: list[tuple[str, int]] = []
    done: list[int] = []

    def start_part(name: str, steps: int):
        parts.append((name, steps))
        return done.append

    begin = time.monotonic()
    found = measure_latency(bundle, PLAN, start_part)
    taken = time.monotonic() - begin
    assert parts == list(zip(PARTS, [1, 5, 5, 0, 1], strict=True))
    assert sum(done) == 12
    assert [phase.name for phase in found.phases] == PARTS
    ends = [0.0]
    for phase in found.phases:
        assert ends[-1] <= phase.start < phase.end <= taken
        ends.append(phase.end)
    assert found.phases[0].end - found.phases[0].start >= 0.1
    assert [at.threads for at in found.at] == [1, 2]
    assert [at.memory.peak_mb for at in found.at] == [1, 2]
    assert found.micro_batch == 2
    assert found.samples
    assert min(one.seconds for one in found.samples) >= 0
    assert max(one.seconds for one in found.samples) <= taken
    assert found.soak is not None
    assert found.soak.threads == 2
    seconds = [0.0, *(window.seconds for window in found.soak.windows)]
    assert 0.4 <= seconds[-1] <= found.phases[3].end - found.phases[3].start
    assert 5 <= len(seconds) - 1 <= 10
    assert found.clock_jump == 0


def test_without_a_soak(bundle: Path) -> None:
    found = measure_latency(bundle, replace(PLAN, threads=(1,), soak=0), lambda *_: lambda _: None)
    assert found.soak is None
    assert [phase.name for phase in found.phases] == [
        "resting before",
        "threads 1",
        "resting after",
    ]


def test_a_clock_that_jumps_moves_nothing_but_the_meter(
    bundle: Path, tmp_path, monkeypatch
) -> None:
    meter = tmp_path / "meter.csv"
    meter.write_text(f"time,watts\n{time.time() + 0.2},5\n")
    real, calls = time.time, []

    def jumping() -> float:
        calls.append(real())
        return calls[-1] + 3600 * (len(calls) > 1)

    monkeypatch.setattr(time, "time", jumping)
    plan = replace(PLAN, threads=(1,), soak=0, meter=meter)
    found = measure_latency(bundle, plan, lambda *_: lambda _: None)
    assert found.clock_jump == pytest.approx(3600, abs=1)
    assert max(phase.end for phase in found.phases) < 60
    assert found.power == ()
    assert found.power_source == "none: the clock was set by +3600 s, so meter.csv fits no time"


def test_the_meter_is_read_within_the_measurement(bundle: Path, tmp_path: Path) -> None:
    meter = tmp_path / "meter.csv"
    now = time.time()
    meter.write_text(f"time,watts\n{now - 60},9\n{now + 0.1},5\n{now + 0.15},6\n{now + 600},9\n")
    plan = replace(PLAN, threads=(1,), soak=0, meter=meter)
    found = measure_latency(bundle, plan, lambda *_: lambda _: None)
    assert [reading.watts for reading in found.power] == [5, 6]
    assert [reading.seconds for reading in found.power] == pytest.approx([0.1, 0.15], abs=0.1)
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
