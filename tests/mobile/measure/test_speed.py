"""Times and memory of a bundle: what is called how often, and what is made of it."""

import os
import signal
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from cbpnet.host.errors import InputError
from cbpnet.host.memory import resident_mb
from mobile.device.program import Program, get_threads, set_threads
from mobile.measure import speed as bench
from mobile.measure.speed import WARM_UP, Times, measure_memory, measure_times

ORDER = ["query", "observe", "begin_task", "gradients", "update", "predict"]
RUNS = 7


class FakeTime:
    """A clock that stands still but for calls of a program, which take what `seconds` says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.calls: list[str] = []
        real = Program.call
        random = np.random.default_rng(3)
        self.seconds = {name: random.uniform(0.001, 1.0, 1 + WARM_UP + RUNS) for name in ORDER}

        def call(program, method, tensors):
            if method in self.seconds:
                self.now += self.seconds[method][self.calls.count(method)]
            else:
                self.now += 0.25
            self.calls.append(method)
            return real(program, method, tensors)

        monkeypatch.setattr(Program, "call", call)
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)


@pytest.fixture
def clock(monkeypatch) -> FakeTime:
    return FakeTime(monkeypatch)


def test_every_method_is_called_once_a_round(bundle, clock):
    rounds: list[int] = []
    times = measure_times(bundle, RUNS, rounds.append)
    assert Counter(clock.calls) == {
        "initial_state": 1,
        **dict.fromkeys(ORDER, WARM_UP + RUNS),
    }
    assert clock.calls == ["initial_state", *ORDER * (WARM_UP + RUNS)]
    assert rounds == [1] * (WARM_UP + RUNS)
    assert list(times.methods) == ORDER
    assert times.load_ms == pytest.approx(250.0)


def test_percentiles_are_numpys_of_the_warm_calls(bundle, clock):
    times = measure_times(bundle, RUNS)
    for name, timing in times.methods.items():
        warm = 1e3 * clock.seconds[name][WARM_UP : WARM_UP + RUNS]
        assert timing.first_ms == pytest.approx(1e3 * clock.seconds[name][0])
        assert timing.median_ms == pytest.approx(np.sort(warm)[RUNS // 2])
        assert timing.p5_ms == pytest.approx(np.percentile(warm, 5))
        assert timing.p95_ms == pytest.approx(np.percentile(warm, 95))


def test_images_a_second_count_the_whole_micro_batch(bundle, clock):
    methods = measure_times(bundle, RUNS).methods
    for name in ("query", "observe", "gradients", "predict"):
        median = np.median(clock.seconds[name][WARM_UP : WARM_UP + RUNS])
        assert methods[name].images == 2
        assert methods[name].images_per_second == pytest.approx(2 / median)
    for name in ("begin_task", "update"):
        assert methods[name].images == 0
        assert methods[name].images_per_second is None


def test_what_is_learnt_is_one_micro_batch_of_the_task(bundle, calls):
    measure_times(bundle, 1)
    found = dict(calls)
    assert found["begin_task"]["state.classes.task"].tolist() == [0, 0, -1, -1, -1, -1]
    assert found["gradients"]["sums.count"].item() == 2
    assert found["update"]["state.adam.step"].item() == 1
    assert np.isfinite(found["predict"]["scores"][:, :2]).all()
    assert not np.isfinite(found["predict"]["scores"][:, 2:]).any()


def test_the_real_clock_and_a_delegate(int8_bundle):
    times = measure_times(int8_bundle, 2)
    assert isinstance(times, Times)
    assert times.load_ms > 0
    for timing in times.methods.values():
        assert 0 < timing.p5_ms <= timing.median_ms <= timing.p95_ms


@pytest.mark.parametrize("runs", [0, -1])
def test_no_run_is_refused(bundle, runs):
    with pytest.raises(InputError, match=rf"runs is {runs}; it must be at least 1"):
        measure_times(bundle, runs)


def test_memory_is_that_of_a_fresh_process(bundle):
    ballast = np.ones(50_000_000, np.float32)  # 200 MB that the other process knows nothing of
    memory = measure_memory(bundle)
    here = resident_mb()
    assert ballast.nbytes == 200_000_000
    assert list(memory.peak_after_mb) == ["load", *ORDER]
    peaks = list(memory.peak_after_mb.values())
    assert peaks == sorted(peaks)
    assert peaks[0] > 0
    assert peaks[-1] <= memory.peak_mb < 200
    assert 10 < memory.bare_mb < here - 200


def test_memory_is_what_the_peak_adds_to_the_bare_process(bundle, monkeypatch):
    grown = {"load": 20.0, "query": 22.0, "observe": 23.0, "begin_task": 23.0}
    grown |= {"gradients": 60.0, "update": 61.0, "predict": 64.0}
    told = grown | {"begin_task": 22.99}  # by as little the system's own peak may fall
    peaks = iter([*told.values(), *[70.0] * len(ORDER)])  # a call each, in two rounds
    monkeypatch.setattr(bench, "resident_mb", lambda: 100.0)
    monkeypatch.setattr(bench, "peak_rss_mb", lambda: 100.0 + next(peaks))
    memory = bench._measure_own_memory(bundle, get_threads())
    assert list(peaks) == []
    assert memory == bench.Memory(100.0, 70.0, grown)


def test_resident_memory_grows_with_what_is_held():
    before = resident_mb()
    ballast = np.ones(50_000_000, np.float32)
    assert resident_mb() - before == pytest.approx(4e-6 * len(ballast), rel=0.1)


def test_the_fresh_process_has_the_same_threads(bundle, monkeypatch):
    before, set_to = get_threads(), []
    try:
        set_threads(1)
        monkeypatch.setattr(bench, "set_threads", set_to.append)
        bench._measure_own_memory(bundle, 2)
        assert set_to == [2]
    finally:
        set_threads(before)


def test_a_file_that_is_no_bundle_is_one_sentence_from_the_other_process_too(tmp_path: Path):
    path = tmp_path / "x.pte"
    path.write_text("a letter to grandmother")
    for measure in (measure_memory, lambda bundle: measure_times(bundle, 1)):
        with pytest.raises(InputError, match="is not a bundle; export it again"):
            measure(path)


def _end_this_process(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_measuring_process_that_is_killed_is_one_sentence(bundle, monkeypatch):
    monkeypatch.setattr(bench, "_measure_own_memory", _end_this_process)
    with pytest.raises(InputError, match="was ended by the system, most likely for lack of memory"):
        measure_memory(bundle)


def test_memory_is_measured_as_a_device_learns_with_one_phases_methods_at_a_time(
    bundle, calls, monkeypatch
):
    real = Program.release

    def release(program):
        calls.append(("-", None))
        real(program)

    monkeypatch.setattr(Program, "release", release)
    bench._measure_own_memory(bundle, get_threads())
    turns = ["query", "-", "observe", "-", "begin_task", "gradients", "update", "-", "predict"]
    assert [method for method, _ in calls] == ["-", "initial_state", "-", *turns, *turns]
