"""What the processor is called."""

import platform
import re
from pathlib import Path

from cbpnet.host.system_files import read_system_file

__all__ = ["cpu_name"]


def cpu_name() -> str:
    """Return what the processor is called; at least its architecture."""
    text = read_system_file(Path("/proc/cpuinfo"))
    named = re.search(r"^(?:model name|Model|Hardware)\s*:\s*(.+)$", text, re.MULTILINE)
    return named[1] if named else platform.processor() or platform.machine()
