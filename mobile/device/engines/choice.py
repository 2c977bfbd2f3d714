"""Which engine runs the bundles: the one that is asked for, or the one that is installed."""

import os
import sys
from functools import cache

from cbpnet.host.errors import InputError
from cbpnet.host.packages import installed_version
from mobile.device.cores import free_cores
from mobile.device.engines.engine import Engine

__all__ = ["ENGINES", "ENGINE_VARIABLE", "check_process", "choose_engine", "use_engine"]

ENGINE_VARIABLE = "CBPNET_ENGINE"

# By name, what each needs; the first that is complete is taken. Executorch and torch are released
# as a pair: another torch breaks the runtime with an undefined symbol.
_NEEDS = {
    "executorch": {"executorch": "1.4", "torch": "2.13"},
    "executorch-numpy-runtime": {"executorch-numpy-runtime": "1.4"},
}
ENGINES = tuple(_NEEDS)
_PROCESSES: set[int] = set()  # in which an engine has started, this one or one before its fork


def choose_engine(name: str | None = None) -> Engine:
    """Return the engine of a name.

    By default it is that which the environment variable CBPNET_ENGINE names, else the first of
    `ENGINES` that is installed.

    Raises:
        InputError: there is no such engine, what it needs is not installed, or as `check_process`.
    """
    check_process()
    name = name or os.environ.get(ENGINE_VARIABLE) or None
    if name is None:
        complete = [engine for engine in ENGINES if not _lacking(engine)]
        if not complete:
            raise InputError(_none_installed())
        name = complete[0]
    elif name not in ENGINES:
        raise InputError(f"there is no engine {name!r}; right are {' and '.join(ENGINES)}")
    elif _lacking(name):
        raise InputError(
            f"the engine {name} needs {_wanted(name)}, and {_found(name)}; install that"
        )
    return _started(name)


def check_process() -> None:
    """Raise `InputError` where this process was forked from one in which an engine had started.

    It has none of the engine's threads, and would wait for them.
    """
    if _PROCESSES and os.getpid() not in _PROCESSES:
        raise InputError(
            "this process was forked from one that runs bundles, and cannot run any; right would "
            "be a process that multiprocessing starts with its method 'spawn'"
        )


def use_engine(name: str) -> None:
    """Run all bundles from now on with an engine, here and in processes that are started here.

    Raises:
        InputError: as `choose_engine`.
    """
    choose_engine(name)
    os.environ[ENGINE_VARIABLE] = name


@cache
def _started(name: str) -> Engine:
    """Import an engine, which takes its package or two, and start it."""
    _PROCESSES.add(os.getpid())
    engine: Engine
    if name == "executorch":
        from mobile.device.engines.executorch import ExecuTorch

        engine = ExecuTorch()
    else:
        from mobile.device.engines.numpy_runtime import NumpyRuntime

        engine = NumpyRuntime()
    # ExecuTorch's own choice knows the latest little cores only, and neither what the process may
    # use nor what others do.
    engine.set_threads(free_cores())
    return engine


def _lacking(name: str) -> list[str]:
    """Return those of an engine's packages that are not installed in its series."""
    return [
        package
        for package, series in _NEEDS[name].items()
        if not installed_version(package).startswith(f"{series}.")
    ]


def _wanted(name: str) -> str:
    return " and ".join(f"{package} {series}" for package, series in _NEEDS[name].items())


def _found(name: str) -> str:
    return ", ".join(
        f"the installed {package} is {installed_version(package)}" for package in _lacking(name)
    )


def _none_installed() -> str:
    wanted = " together, or with ".join(_wanted(name) for name in ENGINES)
    found = ", ".join(_found(name) for name in ENGINES)
    right = (
        "pip install executorch-numpy-runtime"
        if sys.version_info >= (3, 12)
        else "pip install 'cbpnet-mobile[export]'"
    )
    return f"cbpnet-mobile runs bundles with {wanted}, and {found}; {right}"
