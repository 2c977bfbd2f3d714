"""A bundle's methods, run by an engine on named arrays.

ExecuTorch pairs arrays by position; here they are paired by the names in the manifest, and names,
shapes and dtypes are checked on both sides before the engine sees them.
"""

import ctypes
import os
import threading
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from cbpnet.host.arrays import Array
from cbpnet.host.errors import InputError
from cbpnet.method.layout import MethodName, methods_of
from mobile.device.bundle import Bundle, open_bundle
from mobile.device.cores import free_cores
from mobile.device.engines.choice import choose_engine
from mobile.device.engines.engine import Engine, EngineError, LoadedProgram
from mobile.device.manifest import Manifest, TensorInfo
from mobile.device.program_check import check_program, runs_here
from mobile.device.trial import try_bundle
from mobile.device.turn import Turn
from mobile.device.verified import is_verified, remember, verification_key

__all__ = ["Program", "fit_threads", "get_threads", "set_threads"]

# An engine's threads and working memory are the process's: one call runs at a time.
_TURN = Turn(threading.RLock)
_FIXED = threading.Event()  # that the number of threads was asked for

# Methods that are called in turns. Each other one has its turn, as long as these or longer.
_PHASES: tuple[frozenset[MethodName], ...] = (
    frozenset({"query", "features", "predict"}),
    frozenset({"solve", "leave_one_out"}),
    frozenset({"begin_task", "gradients", "update"}),
)


def get_threads() -> int:
    """Return the number of threads of ExecuTorch's pool, which all programs of a process share.

    It starts with one for each fast core that is free, see `mobile.device.cores`.
    """
    return choose_engine().get_threads()


def set_threads(count: int) -> None:
    """Set the number of threads of ExecuTorch's pool; all programs load their methods again.

    Raises:
        InputError: ``count`` is below 1.
    """
    if count < 1:
        raise InputError(f"threads is {count}; it must be at least 1")
    _FIXED.set()
    _resize(count)


def fit_threads() -> None:
    """Have one thread for each fast core that is free now, unless `set_threads` said how many.

    Before a lesson this is worth its hundredth of a second: what ran beside the last may have gone.
    """
    if not _FIXED.is_set():
        _resize(free_cores())


def _resize(count: int) -> None:
    engine = choose_engine()
    with _TURN:
        if count != engine.get_threads():
            for program in list(_PROGRAMS):
                program.release()  # its methods know the old pool
            engine.set_threads(count)


class Program:
    """A verified bundle, loaded; a method is loaded when it is first called.

    The file stays open: it may be renamed, replaced or deleted meanwhile, but not overwritten. It
    may be called by several threads: of all programs of a process, one call runs at a time. What a
    call returns are copies, which no later call changes. Unpickled, it is opened anew from its
    path, where the same file has to be. A process that is forked from one that runs bundles lacks
    its threads, and runs none.

    Args:
        path: the `.pte` file.
        by_phase: whether only methods of one phase of learning or classifying are kept loaded, so
            that their memory does not add up. To load a method again takes about as long as a step.

    Attributes:
        path: the bundle's file.
        manifest: what the bundle says of itself.
        engine: what runs it.

    Raises:
        InputError: the file is no intact bundle, its manifest does not describe it, or no engine
            is installed that runs it.
    """

    def __init__(self, path: Path, by_phase: bool = False) -> None:
        self.path = path
        self._by_phase = by_phase
        self._phase: frozenset[MethodName] = frozenset()
        bundle = open_bundle(path)
        self._file, self.manifest, self._sha256 = bundle.file, bundle.manifest, bundle.sha256
        weakref.finalize(self, self._file.close)
        self._verified = _condition(self._file)
        self.engine = choose_engine()
        self._program: LoadedProgram | None = None
        _PROGRAMS.add(self)
        _verify(path, bundle, self.engine)
        with _TURN:
            try:
                self._loaded()
            except EngineError as error:
                raise InputError(
                    f"bundle {path} cannot be loaded by {self.engine.name}: {error}"
                ) from error

    def __reduce__(self) -> tuple[Any, ...]:
        return _opened_again, (self.path, self._by_phase, self._sha256)

    def call(self, method: MethodName, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Run a method on the arrays that it takes, by name, and return what it gives, by name.

        Arrays that the method does not take are ignored.

        Raises:
            ValueError: an array is missing, or its shape or dtype is not the one in the manifest.
            InputError: the engine refuses the method, for instance for lack of a backend, the file
                has been overwritten, or this process was forked.
        """
        info = self.manifest.methods[method]
        if not runs_here(self.manifest, method):
            raise InputError(
                f"the method {method!r} of bundle {self.path} runs in Qualcomm's delegate, which "
                "loads what a bundle tells it to: it is run on Android only"
            )
        inputs = [_checked(method, wanted, arrays) for wanted in info.inputs]
        try:
            with _TURN:
                self._enter_phase_of(method)
                outputs = self._loaded().run(method, inputs)
        except EngineError as error:
            raise InputError(
                f"the method {method!r} of bundle {self.path} cannot be run by "
                f"{self.engine.name}: {error}"
            ) from error
        names = [output.name for output in info.outputs]
        return dict(zip(names, outputs, strict=True))

    def release(self) -> None:
        """Give back the memory of all methods; the next call loads what it needs again."""
        with _TURN:
            self._program = None
            _give_back_freed_memory()

    def _enter_phase_of(self, method: MethodName) -> None:
        if self._by_phase and method not in self._phase:
            self.release()
            alone = frozenset({method})
            self._phase = next((phase for phase in _PHASES if method in phase), alone)

    def _loaded(self) -> LoadedProgram:
        """Return the program, which stands in the file as it was verified."""
        if _condition(self._file) != self._verified:
            raise InputError(
                f"bundle {self.path} was overwritten while it was in use; start again, and put a "
                "new bundle in an old one's place by renaming it"
            )
        if self._program is None:
            # By its number: the path may stand for another file by now.
            self._program = self.engine.load(f"/dev/fd/{self._file.fileno()}")
        return self._program


_PROGRAMS: weakref.WeakSet[Program] = weakref.WeakSet()


def _opened_again(path: Path, by_phase: bool, sha256: bytes) -> Program:
    program = Program(path, by_phase)
    if program._sha256 != sha256:
        raise InputError(
            f"bundle {path} is another one than was pickled; right would be the file with the "
            f"SHA-256 {sha256.hex()} in its last 32 bytes"
        )
    return program


def _verify(path: Path, bundle: Bundle, engine: Engine) -> None:
    """Check and try a bundle that was not verified on this host.

    Raises:
        InputError: it is not what an export writes, or does not survive the trial.
    """
    _check_methods(path, bundle.manifest)
    key = verification_key(bundle, engine)
    if is_verified(key):
        return
    try:
        check_program(bundle.file, bundle.program_bytes, bundle.manifest)
    except ValueError as error:
        raise InputError(f"bundle {path} is not run: {error!s:.400}; export it again") from error
    try_bundle(path, bundle.file, bundle.manifest, engine.name)
    remember(key)


def _check_methods(path: Path, manifest: Manifest) -> None:
    """Raise `InputError` unless a manifest has its learner's methods and no others."""
    wanted = set(methods_of(manifest.config))
    for name in sorted(wanted ^ manifest.methods.keys()):
        verb = "lacks" if name in wanted else "has no use for"
        raise InputError(f"bundle {path} {verb} the method {name!r}; export it again")


def _give_back_freed_memory() -> None:
    """Have the C library give the system what was freed; glibc keeps it, in holes too small."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _condition(file: BinaryIO) -> tuple[int, int]:
    """Return what changes when a file is written to: its size and its time of modification."""
    status = os.fstat(file.fileno())
    return status.st_size, status.st_mtime_ns


def _checked(method: str, wanted: TensorInfo, arrays: Mapping[str, Array]) -> Array:
    """Return a method's input as every engine takes it: in C's order, and not read-only.

    A delegate may read another order as garbage.
    """
    if wanted.name not in arrays:
        raise ValueError(f"method {method!r} takes the tensor {wanted.name!r}, which is missing")
    array = arrays[wanted.name]
    if array.dtype != wanted.dtype or array.shape != wanted.shape:
        raise ValueError(
            f"method {method!r} takes {wanted.name!r} as {wanted.dtype} {list(wanted.shape)}, "
            f"not {array.dtype} {list(array.shape)}"
        )
    return np.require(array, requirements=["C", "W"])
