"""ExecuTorch without torch: the package executorch-numpy-runtime, which takes numpy's arrays.

Its threads and its log are ExecuTorch's, which the package does not show: they are reached through
the C++ functions that its library exports.
"""

import ctypes
import importlib
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from cbpnet.host.arrays import Array
from cbpnet.host.packages import installed_version
from mobile.device.engines.engine import EngineError

__all__ = ["NumpyRuntime"]

_POOL = "_ZN10executorch9extension10threadpool"
_GET_POOL = f"{_POOL}14get_threadpoolEv"
_COUNT = "_ZNK10executorch9extension10threadpool10ThreadPool16get_thread_countEv"
_RESET = f"{_POOL}10ThreadPool24_unsafe_reset_threadpoolEj"
_REGISTER_PLATFORM = "_ZN10executorch7runtime12register_palENS0_7PalImplE"

# Timestamp, level as a letter, file, function, line, message, and the message's length.
_Log = ctypes.CFUNCTYPE(
    None,
    ctypes.c_uint64,
    ctypes.c_int,
    ctypes.c_char_p,
    ctypes.c_char_p,
    ctypes.c_size_t,
    ctypes.c_char_p,
    ctypes.c_size_t,
)
_TELLING = b"EF"  # the levels error and fatal; information and debugging are noise


class _Platform(ctypes.Structure):
    """ExecuTorch's `PalImpl`: what it asks of the system; what is left out stays as it is."""

    _fields_ = (
        ("init", ctypes.c_void_p),
        ("abort", ctypes.c_void_p),
        ("current_ticks", ctypes.c_void_p),
        ("ticks_to_ns_multiplier", ctypes.c_void_p),
        ("emit_log_message", _Log),
        ("allocate", ctypes.c_void_p),
        ("free", ctypes.c_void_p),
        ("source_filename", ctypes.c_char_p),
    )


class NumpyRuntime:
    """The package executorch-numpy-runtime."""

    name = "executorch-numpy-runtime"

    def __init__(self) -> None:
        package = importlib.import_module("executorch_numpy_runtime")
        self.versions = {
            self.name: installed_version(self.name),
            "executorch": package.__et_version__,
        }
        self._runtime = package.Runtime.get()
        self._library = ctypes.CDLL(package._core.__file__)
        self._failures = (package.ExecuTorchError, RuntimeError)
        self._said: deque[str] = deque(maxlen=8)
        self._log = _Log(self._listen)  # for as long as the library may call it
        self._function(_REGISTER_PLATFORM, ctypes.c_bool, _Platform)(
            _Platform(emit_log_message=self._log, source_filename=__file__.encode())
        )
        self._pool = self._function(_GET_POOL, ctypes.c_void_p)()

    def get_threads(self) -> int:
        count: int = self._function(_COUNT, ctypes.c_size_t, ctypes.c_void_p)(self._pool)
        return count

    def set_threads(self, count: int) -> None:
        self._function(_RESET, ctypes.c_bool, ctypes.c_void_p, ctypes.c_uint32)(self._pool, count)

    def load(self, path: str) -> "_Program":
        with self.listened():
            return _Program(self, self._runtime.load_program(path))

    @contextmanager
    def listened(self) -> Iterator[None]:
        """Take what the runtime says of a failure into the error.

        Raises:
            EngineError: the runtime failed.
        """
        self._said.clear()
        try:
            yield
        except self._failures as error:
            raise EngineError("; ".join([str(error), *self._said])) from error
        for line in self._said:
            print(line, file=sys.stderr)

    def _listen(
        self,
        time: int,
        level: int,
        file: bytes,
        function: bytes,
        line: int,
        message: bytes,
        length: int,
    ) -> None:
        if level in _TELLING:
            self._said.append(message.decode(errors="replace"))

    def _function(self, symbol: str, result: Any, *arguments: Any) -> Any:
        function = self._library[symbol]
        function.restype, function.argtypes = result, arguments
        return function


class _Program:
    def __init__(self, engine: NumpyRuntime, program: Any) -> None:
        self._engine = engine
        self._program = program

    def run(self, method: str, arrays: Sequence[Array]) -> list[Array]:
        with self._engine.listened():
            outputs: list[Array] = self._program.load_method(method)(arrays)
        return outputs
