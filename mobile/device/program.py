"""A bundle's methods, run by ExecuTorch on named tensors.

ExecuTorch pairs tensors by position; here they are paired by the names in the manifest, and names,
shapes and dtypes are checked on both sides before the runtime sees them.
"""

import ctypes
import importlib
import importlib.util
import os
import sys
import threading
import weakref
from collections.abc import Mapping
from contextlib import redirect_stderr
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from cbpnet.host.errors import InputError
from cbpnet.host.packages import installed_version
from cbpnet.method.layout import MethodName, methods_of
from mobile.device.bundle import TensorInfo, open_bundle
from mobile.device.cores import performance_cores

__all__ = ["Program", "get_threads", "set_threads"]

# Released as a pair: another torch breaks the runtime with an undefined symbol.
_PAIR = {"executorch": "1.4", "torch": "2.13"}
_DTYPES = {"float32": torch.float32, "int64": torch.int64}
_SCALAR_TYPES = {6: "float32", 4: "int64"}  # as ExecuTorch's metadata number them


def get_threads() -> int:
    """Return the number of threads of ExecuTorch's pool, which all programs of a process share.

    It starts with one for each fast core that the process may use, see `mobile.device.cores`.
    """
    count: int = _runtime()._threadpool_get_thread_count()
    return count


def set_threads(count: int) -> None:
    """Set the number of threads of ExecuTorch's pool; no program may be running meanwhile.

    Raises:
        InputError: ``count`` is below 1.
    """
    if count < 1:
        raise InputError(f"threads is {count}; it must be at least 1")
    if count == get_threads():
        return
    with redirect_stderr(StringIO()):  # says that it does so
        _runtime()._unsafe_reset_threadpool(count)


class Program:
    """A verified bundle, loaded; a method is loaded when it is first called.

    The file is mapped and not read into memory, and it stays open: it may be renamed, replaced or
    deleted meanwhile, but not overwritten. It may be called by several threads: one call runs at a
    time. ExecuTorch's Python binding keeps the interpreter's lock meanwhile, so that several
    programs never use its pool at once either. What a call returns are copies, which no later call
    changes.

    Attributes:
        path: the bundle's file.
        manifest: what the bundle says of itself.

    Raises:
        InputError: the file is no intact bundle, its manifest does not describe it, or the
            installed executorch and torch do not go together.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file, self.manifest = open_bundle(path)
        weakref.finalize(self, self._file.close)
        self._verified = _condition(self._file)
        self._lock = threading.Lock()
        self._program: Any = None
        self._methods: dict[str, Any] = {}
        try:
            program = self._loaded()
            found = {program.get_method_name(index) for index in range(program.num_methods())}
        except RuntimeError as error:
            raise InputError(
                f"bundle {path} cannot be loaded by the installed executorch: {error}"
            ) from error
        for name in methods_of(self.manifest.config):
            if name not in found or name not in self.manifest.methods:
                raise InputError(f"bundle {path} lacks the method {name!r}; export it again")
            self._check_signature(name)

    def call(self, method: MethodName, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Run a method on the tensors that it takes, by name, and return what it gives, by name.

        Tensors that the method does not take are ignored.

        Raises:
            ValueError: a tensor is missing, or its shape or dtype is not the one in the manifest.
            InputError: the runtime refuses the method, for instance for lack of a backend, or the
                file has been overwritten.
        """
        info = self.manifest.methods[method]
        inputs = [_checked(method, wanted, tensors) for wanted in info.inputs]
        try:
            with self._lock:
                outputs = self._method(method).call(inputs)
        except RuntimeError as error:
            raise InputError(
                f"the method {method!r} of bundle {self.path} cannot be run here: {error}"
            ) from error
        names = [output.name for output in info.outputs]
        return dict(zip(names, outputs, strict=True))

    def release(self) -> None:
        """Give back the memory of all methods; the next call loads what it needs again."""
        with self._lock:
            self._methods.clear()
            self._program = None
            _give_back_freed_memory()

    def _loaded(self) -> Any:
        """Return the program, which stands in the file as it was verified."""
        if _condition(self._file) != self._verified:
            raise InputError(
                f"bundle {self.path} was overwritten while it was in use; start again, and put a "
                "new bundle in an old one's place by renaming it"
            )
        if self._program is None:
            # By its number: the path may stand for another file by now.
            self._program = _runtime()._load_program(f"/dev/fd/{self._file.fileno()}")
        return self._program

    def _method(self, name: str) -> Any:
        program = self._loaded()
        if name not in self._methods:
            self._methods[name] = program.load_method(name)
        return self._methods[name]

    def _check_signature(self, name: str) -> None:
        """Raise `InputError` unless the program's own metadata agree with the manifest."""
        meta = self._loaded().method_meta(name)
        info = self.manifest.methods[name]
        for kind, described, count, tensor_meta in (
            ("takes", info.inputs, meta.num_inputs(), meta.input_tensor_meta),
            ("gives", info.outputs, meta.num_outputs(), meta.output_tensor_meta),
        ):
            compiled = [tensor_meta(index) for index in range(count)]
            found = [(_SCALAR_TYPES.get(t.dtype()), tuple(t.sizes())) for t in compiled]
            if found != [(tensor.dtype, tensor.shape) for tensor in described]:
                raise InputError(
                    f"bundle {self.path} contradicts itself: its method {name!r} {kind} other "
                    f"tensors than its manifest says; export it again"
                )


def _give_back_freed_memory() -> None:
    """Have the C library give the system what was freed; glibc keeps it, in holes too small."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _condition(file: BinaryIO) -> tuple[int, int]:
    """Return what changes when a file is written to: its size and its time of modification."""
    status = os.fstat(file.fileno())
    return status.st_size, status.st_mtime_ns


def _checked(method: str, wanted: TensorInfo, tensors: Mapping[str, Tensor]) -> Tensor:
    """Return a method's input, contiguous: a delegate may read another order as garbage."""
    if wanted.name not in tensors:
        raise ValueError(f"method {method!r} takes the tensor {wanted.name!r}, which is missing")
    tensor = tensors[wanted.name]
    if tensor.dtype != _DTYPES[wanted.dtype] or tuple(tensor.shape) != wanted.shape:
        raise ValueError(
            f"method {method!r} takes {wanted.name!r} as {wanted.dtype} {list(wanted.shape)}, "
            f"not {str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
        )
    return tensor.detach().contiguous()


def _runtime() -> Any:
    """Return ExecuTorch's Python runtime."""
    _check_pair()
    return _start_runtime()


@cache
def _start_runtime() -> Any:
    """Import ExecuTorch's runtime and make its thread pool.

    The compiled module itself: the public `portable_lib` around it imports `executorch.exir`,
    which takes seconds and brings the exporter and torchao to a device that exports nothing.
    """
    _find_openvino()
    runtime = importlib.import_module("executorch.extension.pybindings._portable_lib")
    said = StringIO()
    with redirect_stderr(said):
        # Its own choice knows the latest little cores only, and not what the process may use.
        if runtime._threadpool_get_thread_count() != performance_cores():
            runtime._unsafe_reset_threadpool(performance_cores())
    for line in said.getvalue().splitlines():
        # Which of an Android phone's files it has looked for in vain, and how many threads it has.
        if not line.startswith(("[cpuinfo_utils.cpp:", "[threadpool.cpp:")):
            print(line, file=sys.stderr)
    return runtime


def _find_openvino() -> None:
    """Tell ExecuTorch where pip put OpenVINO's library, if it did: `portable_lib` would."""
    package = importlib.util.find_spec("openvino")
    if package is not None and package.origin is not None:
        for library in sorted(Path(package.origin).parent.glob("libs/libopenvino_c.so*")):
            os.environ.setdefault("OPENVINO_LIB_PATH", str(library))


def _check_pair() -> None:
    """Raise `InputError` unless the installed executorch and torch go together."""
    for package, series in _PAIR.items():
        found = installed_version(package)
        if not found.startswith(f"{series}."):
            wanted = " and ".join(f"{name} {number}" for name, number in _PAIR.items())
            raise InputError(
                f"cbpnet-mobile runs bundles with {wanted} together, and the installed {package} "
                f"is {found}; install that pair"
            )
