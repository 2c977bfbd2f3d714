"""A lock around what an engine's threads are needed for."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from mobile.device.engines.choice import check_process

__all__ = ["Turn"]


class Turn:
    """A lock that is pickled as a free one, and is not waited for in a forked process.

    There, whoever held it when the process was forked will never let it go.

    Args:
        kind: `threading.Lock`, or `threading.RLock` for one that its holder may take again.
    """

    def __init__(self, kind: Callable[[], AbstractContextManager[Any]]) -> None:
        self._kind = kind
        self._lock = kind()

    def __reduce__(self) -> tuple[Any, ...]:
        return Turn, (self._kind,)

    def __enter__(self) -> None:
        """Wait for the lock; raises `InputError` as `check_process`."""
        check_process()
        self._lock.__enter__()

    def __exit__(self, *failure: Any) -> None:
        self._lock.__exit__(*failure)
