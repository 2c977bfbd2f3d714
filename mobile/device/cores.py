"""How many threads the machine is good for: its fast cores, and none of the slow ones beside them.

A product is shared out evenly, so that a phone's four small cores hold up its four big ones; and
two threads on one core have one core's arithmetic between them.
"""

import os
from collections.abc import Collection
from pathlib import Path

from cbpnet.host.system_files import read_system_file

__all__ = ["performance_cores", "usable_cpus"]

_SYSTEM = Path("/sys/devices/system/cpu")
# What a core can do: the scheduler's own figure, else the frequency, which tells big from little
# less well.
_SPEEDS = ("cpu_capacity", "cpufreq/cpuinfo_max_freq")
_SIBLINGS = "topology/core_cpus_list"
_FAST = 0.8  # of the fastest: big cores reach it, little ones do not


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
