"""A trial: a bundle's methods run once in a process of their own, before they run in this one.

What a program's form does not show, a delegate's graph that goes in a circle for instance, ends or
stops that process and no other. It has no network, little memory and little time.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import BinaryIO

from cbpnet.host.errors import InputError
from mobile.device.manifest import Manifest

__all__ = ["try_bundle"]

# What a processor has time for, emulated and on kernels that nobody tuned: seconds of the
# processor, and multiply-accumulates in each more.
_SECONDS, _MACS = 120, 10_000_000
_MOST_SECONDS = 7200
_WAIT = 20  # times as long by the clock, on a machine that does other things as well
_MEMORY = 1 << 32  # bytes, beside what the bundle is and plans

_ROOT = Path(__file__).resolve().parents[2]  # of the packages
_START = (
    "import json, sys; given = json.loads(sys.argv[1]); sys.path[:] = given.pop('path'); "
    "from mobile.device.trial_child import run_trial; run_trial(**given)"
)


def try_bundle(path: Path, file: BinaryIO, manifest: Manifest, engine: str) -> None:
    """Run every method of an open bundle once, on what it begins with and zeros.

    Where no process can be started, nothing is tried.

    Raises:
        InputError: the process died or did not end, or a number in what a method gave is none.
    """
    macs = sum(method.macs for method in manifest.methods.values())
    seconds = min(_SECONDS + macs // _MACS, _MOST_SECONDS)
    planned = manifest.limits.planned_bytes * len(manifest.methods)
    given = {
        "path": [str(_ROOT), *(place for place in sys.path if place not in ("", str(Path.cwd())))],
        "file": file.fileno(),
        "engine": engine,
        "seconds": seconds,
        "memory": _MEMORY + planned + 8 * os.fstat(file.fileno()).st_size,
    }
    try:
        done = subprocess.run(
            # Isolated: neither the working directory nor the environment says what is imported.
            [sys.executable, "-I", "-c", _START, json.dumps(given)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            pass_fds=[file.fileno()],
            timeout=_WAIT * seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise _refusal(path, f"does not end within {_WAIT * seconds:,} seconds") from error
    except OSError:
        return
    if done.returncode == -signal.SIGXCPU:
        raise _refusal(path, f"does not end within {seconds:,} seconds of the processor")
    if done.returncode < 0:
        raise _refusal(path, f"ends the process ({signal.Signals(-done.returncode).name})")
    if done.returncode:
        raise _refusal(path, f"fails: {_last_line(done.stderr)}")
    if found := _last_line(done.stdout):
        raise _refusal(path, found)


def _last_line(output: bytes) -> str:
    return (output.decode(errors="replace").splitlines() or [""])[-1]


def _refusal(path: Path, found: str) -> InputError:
    return InputError(
        f"bundle {path} is not run: tried in a process of its own, it {found}; export it again"
    )
