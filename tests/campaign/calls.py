"""A command's calls that change files, and the command with one of them failing, or killed there.

The program strace counts and fails them, in each of the command's processes and threads by itself.
"""

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Call", "Result", "calls_of", "run", "run_with"]

Result = subprocess.CompletedProcess[str]

_CHANGING = (
    "openat",
    "write",
    "pwrite64",
    "fsync",
    "ftruncate",
    "rename",
    "link",
    "unlink",
    "chmod",
    "fchmod",
    "fchown",
)
_CHECKOUT = Path(__file__).resolve().parents[2]
_PATHS = re.compile(r'"([^"]*)"|<([^>]*)>')


@dataclass(frozen=True)
class Call:
    """The ``number``-th call of a kind, counted from 1, and how strace shows it."""

    kind: str
    number: int
    text: str


def calls_of(command: str, folder: Path) -> list[Call]:
    """Run a command in a folder, and return its calls that change files there."""
    log = folder.with_name(f"{folder.name}.calls")
    trace = ["-f", "-y", "-o", str(log), "-e", f"trace={','.join(_CHANGING)}"]
    result = run(command, folder, ["strace", *trace])
    if result.returncode:
        raise RuntimeError(f"`{command}` ended with {result.returncode}: {result.stderr}")
    counts: dict[tuple[str, str], int] = {}
    found = []
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        process, _, text = line.partition(" ")
        kind = text.strip().partition("(")[0]
        if kind not in _CHANGING:
            continue
        counts[process, kind] = counts.get((process, kind), 0) + 1
        if _changes(kind, text, folder):
            found.append(Call(kind, counts[process, kind], text.strip()[:200]))
    log.unlink()
    return found


def run_with(call: Call, fault: str, command: str, folder: Path) -> Result:
    """Run a command in a folder with a fault at a call: `error=ENOSPC`, `signal=KILL`."""
    inject = f"inject={call.kind}:{fault}:when={call.number}"
    trace = ["-f", "-qq", "-o", "/dev/null", "-e", f"trace={call.kind}", "-e", inject]
    return run(command, folder, ["strace", *trace])


def run(command: str, folder: Path, under: Sequence[str] = ()) -> Result:
    """Run a command of cbpnet-mobile in a folder, perhaps under another program."""
    program = [*under, sys.executable, "-P", "-m", "mobile", *command.split()]
    here = os.environ | {"PYTHONPATH": str(_CHECKOUT)}
    return subprocess.run(program, cwd=folder, env=here, capture_output=True, text=True)


def _changes(kind: str, line: str, folder: Path) -> bool:
    """Return whether a call changes a file in a folder, as strace shows it."""
    if kind == "openat" and not any(flag in line for flag in ("O_CREAT", "O_WRONLY", "O_RDWR")):
        return False
    if kind in ("write", "pwrite64"):
        line = line.partition(",")[0]  # what follows is what is written
    paths = [quoted or shown for quoted, shown in _PATHS.findall(line)]
    return any(path.startswith(str(folder)) for path in paths) or (
        kind not in ("write", "pwrite64") and any(path and path[0] not in "/<" for path in paths)
    )
