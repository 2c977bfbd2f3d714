"""What a process is to the one that started it."""

import ctypes
import os
import signal
import sys

__all__ = ["end_with"]

_SET_SIGNAL_AT_PARENTS_DEATH = 1  # PR_SET_PDEATHSIG


def end_with(parent: int) -> None:
    """Have this process killed when its parent has ended, however that was; on Linux only.

    ``parent`` is the parent's process id; where it has ended already, so does this process.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_SIGNAL_AT_PARENTS_DEATH, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(128 + signal.SIGKILL)
