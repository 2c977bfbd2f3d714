"""ExecuTorch's own Python runtime, on torch's tensors: for a PC, and for OpenVINO."""

import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any

import torch

from cbpnet.host.arrays import Array
from cbpnet.host.packages import installed_version
from mobile.device.engines.engine import EngineError

__all__ = ["ExecuTorch"]

# Which of an Android phone's files it has looked for in vain, and how many threads it has.
_NOISE = ("[cpuinfo_utils.cpp:", "[threadpool.cpp:")


class ExecuTorch:
    """The packages executorch and torch."""

    name = "executorch"

    def __init__(self) -> None:
        self.versions = {package: installed_version(package) for package in ("executorch", "torch")}
        _find_openvino()
        # The compiled module itself: the public `portable_lib` around it imports `executorch.exir`,
        # which takes seconds and brings the exporter and torchao to a device that exports nothing.
        self._runtime = importlib.import_module("executorch.extension.pybindings._portable_lib")

    def get_threads(self) -> int:
        with _listened():
            count: int = self._runtime._threadpool_get_thread_count()
        return count

    def set_threads(self, count: int) -> None:
        with _listened():
            self._runtime._unsafe_reset_threadpool(count)

    def load(self, path: str) -> "_Program":
        with _listened():
            checked = self._runtime.Verification.InternalConsistency
            return _Program(self._runtime._load_program(path, program_verification=checked))


class _Program:
    def __init__(self, program: Any) -> None:
        self._program = program
        self._methods: dict[str, Any] = {}

    def run(self, method: str, arrays: Sequence[Array]) -> list[Array]:
        inputs = [torch.from_numpy(array) for array in arrays]
        with _listened(), _one_torch_thread():
            if method not in self._methods:
                self._methods[method] = self._program.load_method(method)
            return [output.numpy() for output in self._methods[method].call(inputs)]


@contextmanager
def _one_torch_thread() -> Iterator[None]:
    """Keep torch's threads out of what the delegates left, products too small to share out.

    They are not ExecuTorch's, and wait for one another in a busy loop, two to ten times as long as
    one takes for the work.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _listened() -> Iterator[None]:
    """Take the noise out of what the runtime writes, and what it says of a failure into the error.

    It writes to Python's `sys.stderr`, and with the interpreter's lock, so that it is alone.

    Raises:
        EngineError: the runtime failed.
    """
    said = StringIO()
    try:
        with redirect_stderr(said):
            yield
    except RuntimeError as error:
        reasons = [line.partition("] ")[2] for line in _telling(said)]
        raise EngineError("; ".join([str(error), *reasons])) from error
    for line in _telling(said):
        print(line, file=sys.stderr)


def _telling(said: StringIO) -> list[str]:
    return [line for line in said.getvalue().splitlines() if not line.startswith(_NOISE)]


def _find_openvino() -> None:
    """Tell ExecuTorch where pip put OpenVINO's library, if it did: `portable_lib` would."""
    package = importlib.util.find_spec("openvino")
    if package is not None and package.origin is not None:
        for library in sorted(Path(package.origin).parent.glob("libs/libopenvino_c.so*")):
            os.environ.setdefault("OPENVINO_LIB_PATH", str(library))
