"""What Linux tells in /proc and /sys."""

import re
from pathlib import Path

__all__ = ["memory_mb", "read_system_file"]


def read_system_file(path: Path) -> str:
    """Return a file's text; nothing where it does not exist or cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def memory_mb(meminfo: Path) -> dict[str, float]:
    """Return the entries of a file like /proc/meminfo in megabytes (10^6 bytes), by name."""
    entries = re.findall(r"^(\w+):\s*(\d+) kB", read_system_file(meminfo), re.MULTILINE)
    return {name: int(kilobytes) * 1024 / 1e6 for name, kilobytes in entries}
