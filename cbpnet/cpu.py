"""What the processor is called."""

import platform
import re
from pathlib import Path

__all__ = ["cpu_name"]


def cpu_name() -> str:
    """Return what the processor is called; at least its architecture."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        text = ""
    named = re.search(r"^(?:model name|Model|Hardware)\s*:\s*(.+)$", text, re.MULTILINE)
    return named[1] if named else platform.processor() or platform.machine()
