"""How much memory this process holds, in megabytes (10^6 bytes)."""

import resource
import sys
from pathlib import Path

__all__ = ["peak_rss_mb", "resident_mb"]


def peak_rss_mb() -> float:
    """Return this process's largest resident memory so far, in megabytes (10^6 bytes).

    It does not start again, so for the peak of one method, run the method in a process of its own;
    between two calls it may fall by some kilobytes, for Linux counts pages in batches.
    """
    if sys.platform == "linux":
        # getrusage would start from the size that the parent process had when it forked this one.
        return _status_mb("VmHWM")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # bytes on macOS


def resident_mb() -> float:
    """Return this process's resident memory in megabytes; where only its peak can be had, that."""
    return _status_mb("VmRSS") if sys.platform == "linux" else peak_rss_mb()


def _status_mb(name: str) -> float:
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    return int(status.partition(f"{name}:")[2].split()[0]) * 1024 / 1e6
