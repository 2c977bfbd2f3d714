"""How many threads the machine is good for: its fast cores, as far as nothing else keeps them busy.

A product is shared out evenly, so that a phone's four small cores hold up its four big ones; two
threads on one core have one core's arithmetic between them; and where another process takes a core
away from one thread, the others wait for it, which costs more than that thread brings.
"""

import os
import re
import time
from collections.abc import Callable, Collection
from pathlib import Path
from statistics import median_low

from cbpnet.host.system_files import read_system_file

__all__ = ["free_cores", "performance_cores", "running_elsewhere", "usable_cpus"]

_SYSTEM = Path("/sys/devices/system/cpu")
# What a core can do: the scheduler's own figure, else the frequency, which tells big from little
# less well.
_SPEEDS = ("cpu_capacity", "cpufreq/cpuinfo_max_freq")
_SIBLINGS = "topology/core_cpus_list"
_FAST = 0.8  # of the fastest: big cores reach it, little ones do not
_STATISTICS = Path("/proc/stat")
# Looks at what runs, and seconds between them: what only just woke up is no load.
_LOOKS, _PAUSE = 7, 0.002


def free_cores(
    fast: int | None = None, cpus: int | None = None, busy: Callable[[], int] | None = None
) -> int:
    """Return the number of fast cores that nothing else keeps busy just now, at least 1.

    Args:
        fast: the fast cores that the process may use; by default `performance_cores`.
        cpus: the machine's; what else runs takes the slow ones first.
        busy: tells how many threads of other processes run; by default `running_elsewhere`.
    """
    fast = performance_cores() if fast is None else fast
    cpus = (os.cpu_count() or 1) if cpus is None else cpus
    return max(1, min(fast, cpus - (busy or running_elsewhere)()))


def running_elsewhere(
    statistics: Path = _STATISTICS, wait: Callable[[float], object] = time.sleep
) -> int:
    """Return how many threads run or wait for a core, this one left out: the median of some looks.

    It takes a hundredth of a second. Where the system does not tell, none do.
    """
    seen = []
    for look in range(_LOOKS):
        if look:
            wait(_PAUSE)
        found = re.search(r"^procs_running (\d+)$", read_system_file(statistics), re.MULTILINE)
        if found is None:
            return 0
        seen.append(int(found[1]) - 1)
    return max(0, median_low(seen))


def performance_cores(system: Path = _SYSTEM, allowed: Collection[int] | None = None) -> int:
    """Return the number of fast cores that this process may use, at least 1.

    Fast are those with at least 0.8 of the fastest one's capacity or else frequency. Where the
    system says neither of all of them, all count.

    Args:
        system: Linux's folder of CPUs; where there is none, all that the process may use count.
        allowed: the CPUs' numbers; by default those that the process may use.
    """
    if allowed is None:
        allowed = usable_cpus()
    speeds = _speeds(system, allowed)
    least = _FAST * max(speeds.values(), default=0)
    fast = [cpu for cpu, speed in speeds.items() if speed >= least]
    return max(1, len({_text(system, cpu, _SIBLINGS) or str(cpu) for cpu in fast}))


def usable_cpus() -> Collection[int]:
    """Return the numbers of the CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return range(os.cpu_count() or 1)


def _speeds(system: Path, cpus: Collection[int]) -> dict[int, float]:
    """Return each CPU's speed in any unit, the same for all where it is not known of all."""
    for name in _SPEEDS:
        found = {cpu: _text(system, cpu, name) for cpu in cpus}
        if all(text.isdecimal() and int(text) for text in found.values()):
            return {cpu: int(text) for cpu, text in found.items()}
    return dict.fromkeys(cpus, 1.0)


def _text(system: Path, cpu: int, name: str) -> str:
    return read_system_file(system / f"cpu{cpu}" / name).strip()
