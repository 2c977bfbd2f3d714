"""The number of fast cores, on made-up machines."""

import os
from pathlib import Path

import pytest

from mobile.device.cores import free_cores, performance_cores, running_elsewhere
from mobile.device.program import get_threads

CAPACITY, FREQUENCY = "cpu_capacity", "cpufreq/cpuinfo_max_freq"


def _machine(folder: Path, files: dict[str, list[object]]) -> Path:
    """A folder of CPUs whose files have these values, one for each CPU; None for no file."""
    for name, values in files.items():
        for cpu, value in enumerate(values):
            if value is not None:
                path = folder / f"cpu{cpu}" / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(f"{value}\n")
    return folder


# capacity or frequency of each core, and how many are fast
MACHINES = {
    "Raspberry Pi 5": (FREQUENCY, [2400000] * 4, 4),
    "RK3399": (CAPACITY, [485] * 4 + [1024] * 2, 2),
    "four little, three big, a prime one": (CAPACITY, [325] * 4 + [870] * 3 + [1024], 4),
    "the same by frequency": (FREQUENCY, [1804800] * 4 + [2419200] * 3 + [2841600], 4),
    "Pixel 6": (FREQUENCY, [1803000] * 4 + [2253000] * 2 + [2802000] * 2, 4),
    "two equal": (CAPACITY, [1024] * 2, 2),
    "one": (FREQUENCY, [1000000], 1),
}


@pytest.mark.parametrize("name", MACHINES)
def test_the_fast_cores_are_counted(tmp_path: Path, name: str) -> None:
    file, values, fast = MACHINES[name]
    system = _machine(tmp_path, {file: list(values)})
    assert performance_cores(system, range(len(values))) == fast


def test_capacity_comes_before_frequency(tmp_path: Path) -> None:
    # Little cores that clock as high as the big ones.
    system = _machine(tmp_path, {CAPACITY: [400, 400, 1024, 1024], FREQUENCY: [2000000] * 4})
    assert performance_cores(system, range(4)) == 2


@pytest.mark.parametrize(
    ("allowed", "count"), [({0}, 1), ({0, 1}, 2), ({1, 2}, 1), ({2, 3}, 2), ({0, 1, 2, 3}, 2)]
)
def test_only_cores_that_the_process_may_use_count(
    tmp_path: Path, allowed: set[int], count: int
) -> None:
    system = _machine(tmp_path, {CAPACITY: [400, 400, 1024, 1024]})
    assert performance_cores(system, allowed) == count


def test_two_threads_of_one_core_count_once(tmp_path: Path) -> None:
    siblings: list[object] = ["0,4", "1,5", "2,6", "3,7"] * 2
    system = _machine(tmp_path, {CAPACITY: [1024] * 8, "topology/core_cpus_list": siblings})
    assert performance_cores(system, range(8)) == 4
    assert performance_cores(system, {0, 4}) == 1


@pytest.mark.parametrize(
    "files",
    [
        {},
        {CAPACITY: [1024, None, 400]},
        {CAPACITY: [1024, "", 400]},
        {CAPACITY: ["fast"] * 3},
        {CAPACITY: [0, 0, 0]},
    ],
)
def test_where_speeds_are_not_known_of_all_every_core_counts(
    tmp_path: Path, files: dict[str, list[object]]
) -> None:
    assert performance_cores(_machine(tmp_path, files), range(3)) == 3


def test_one_of_them_unknown_leaves_the_other(tmp_path: Path) -> None:
    files: dict[str, list[object]] = {CAPACITY: [1024, None], FREQUENCY: [2000000, 900000]}
    assert performance_cores(_machine(tmp_path, files), range(2)) == 1


def test_a_system_without_affinity_counts_its_cores(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert performance_cores(tmp_path) == 6
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert performance_cores(tmp_path) == 1


def test_this_machine_has_a_core() -> None:
    assert 1 <= performance_cores() <= (os.cpu_count() or 1)
    assert get_threads() >= 1


@pytest.mark.parametrize(
    ("fast", "cpus", "busy", "free"),
    [
        (2, 2, 0, 2),
        (2, 2, 1, 1),
        (2, 2, 9, 1),
        (4, 4, 1, 3),
        (4, 4, 3, 1),
        (4, 8, 3, 4),  # four slow cores take them
        (4, 8, 5, 3),
        (1, 1, 0, 1),
    ],
)
def test_what_others_keep_busy_is_not_free(fast: int, cpus: int, busy: int, free: int) -> None:
    assert free_cores(fast, cpus, lambda: busy) == free


def _running(folder: Path, *counts: int) -> int:
    """What is said where the statistics have these numbers of running threads, one a look."""
    file, left = folder / "stat", list(counts)

    def write(pause: float = 0) -> None:
        file.write_text(f"cpu  1 2 3\nprocs_running {left.pop(0)}\nprocs_blocked 7\n")

    write()
    return running_elsewhere(file, write)


@pytest.mark.parametrize(
    ("counts", "others"),
    [
        ([1] * 7, 0),
        ([2] * 7, 1),
        ([3, 1, 1, 2, 1, 1, 1], 0),  # something woke up
        ([2, 2, 3, 1, 2, 2, 2], 1),
        ([0] * 7, 0),
    ],
)
def test_what_runs_is_the_median_of_some_looks_without_oneself(
    tmp_path: Path, counts: list[int], others: int
) -> None:
    assert _running(tmp_path, *counts) == others


def test_where_the_system_does_not_tell_nothing_runs(tmp_path: Path) -> None:
    assert running_elsewhere(tmp_path / "none") == 0


def test_a_cores_default_is_this_machine() -> None:
    assert 1 <= free_cores() <= performance_cores()
