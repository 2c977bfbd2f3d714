"""The process of a trial (`mobile.device.trial`): it tries one bundle and ends."""

import ctypes
import os
import resource
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np

from cbpnet.host.arrays import Array
from cbpnet.method.layout import methods_of
from mobile.device.bundle import open_bundle
from mobile.device.engines.choice import choose_engine
from mobile.device.engines.engine import EngineError, LoadedProgram
from mobile.device.manifest import Manifest, TensorInfo
from mobile.device.program_check import runs_here

__all__ = ["run_trial"]

_NEW_NETWORK, _NEW_USER = 0x40000000, 0x10000000  # of Linux's unshare
_ONES = ("prior", "scale", "rate")  # which divide
# What has to give numbers although nothing is known; the others may divide nothing by nothing.
_NUMBERS = ("initial_state", "features", "query")


def run_trial(file: int, engine: str, seconds: int, memory: int) -> None:
    """Try the bundle behind a file descriptor, and print what is wrong with it, if anything.

    Args:
        engine: the name of what runs it.
        seconds: of the processor, after which this process is ended.
        memory: bytes that it may take beside what the engine does.
    """
    path = Path(f"/dev/fd/{file}")
    manifest = open_bundle(path).manifest
    _leave_network()
    chosen = choose_engine(engine)
    chosen.set_threads(1)
    _limit(seconds, memory)
    try:
        found = _tried(chosen.load(str(path)), manifest)
    except EngineError as error:
        found = f"cannot be loaded by {engine}: {error}"
    except MemoryError:
        found = f"takes more than {memory:,} bytes of memory"
    print(found)


def _tried(program: LoadedProgram, manifest: Manifest) -> str:
    """Run every method on what those before it gave; return what is wrong, if anything."""
    known: dict[str, Array] = {}
    for method in methods_of(manifest.config):
        if not runs_here(manifest, method):
            continue
        info = manifest.methods[method]
        given = [_input(tensor, known) for tensor in info.inputs]
        try:
            outputs = program.run(method, given)
        except EngineError:  # for lack of a backend; it is said where the method is called
            continue
        names = [tensor.name for tensor in info.outputs]
        for name, output in zip(names, outputs, strict=True):
            if method in _NUMBERS and np.isnan(output).any():
                return f"gives what is no number as {name} of its method {method!r}"
        known |= zip(names, outputs, strict=True)
    return ""


def _input(tensor: TensorInfo, known: Mapping[str, Array]) -> Array:
    """Return what is known under a tensor's name, or zeros, or ones where they divide."""
    found = known.get(tensor.name)
    if found is not None and found.shape == tensor.shape:
        return found
    return np.full(tensor.shape, tensor.name in _ONES, tensor.dtype)


def _leave_network() -> None:
    """Have no network from here on, where a process may decide that: alone if root, else as one."""
    unshare = getattr(ctypes.CDLL(None), "unshare", None)
    if unshare is not None and unshare(_NEW_NETWORK):
        unshare(_NEW_USER | _NEW_NETWORK)


def _limit(seconds: int, memory: int) -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds += int(used.ru_utime + used.ru_stime) + 1
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    with suppress(OSError, ValueError):
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[0]
        memory += int(pages) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
