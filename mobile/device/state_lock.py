"""One writer of a state at a time, from reading it to writing it, and its name for those who wait.

The lock is `flock` on a file beside the state, which the kernel releases whatever ends its holder.
The file says who that is; it goes when the lock does, and one that a killed holder left is nobody's
lock and in nobody's way.
"""

import errno
import fcntl
import json
import os
import shlex
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from cbpnet.host.atomic import real_path
from cbpnet.host.errors import InputError

__all__ = ["lock_path", "writing"]

_LOOKS_EVERY = 0.1  # seconds
_HELD = {errno.EAGAIN, errno.EACCES}
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL}


def lock_path(state: Path) -> Path:
    """Return where the lock of a state file stands: beside the file that a link points to."""
    path = real_path(state)
    return path.with_name(f"{path.name}.lock")


@contextmanager
def writing(
    state: Path, wait: float, say: Callable[[str], object] = lambda sentence: None
) -> Iterator[None]:
    """Be the only writer of a state file; a context manager, to be entered before it is read.

    Where the file system knows no locks, a sentence says so and the work goes on without one.

    Args:
        state: the state file, which need not exist; its folder has to.
        wait: seconds to wait for another writer, at least 0; `math.inf` as long as it takes.
        say: is told in a sentence who is waited for.

    Raises:
        InputError: another writer, who is named, has not ended by then; or the folder cannot be
            written to.
    """
    path = lock_path(state)
    lock = _acquired(path, state, wait, say)
    if lock is None:
        say(f"{path.parent} is on a file system without locks; let one program at a time learn")
        yield
        return
    try:
        with suppress(OSError):  # on a full disk nobody's name is read, and the lock holds
            os.ftruncate(lock, 0)
            os.pwrite(lock, json.dumps(_this_process()).encode(), 0)
        yield
    finally:
        with suppress(OSError):  # one that is left is nobody's lock
            path.unlink()  # while it is held, so that nobody's new lock goes
        os.close(lock)


def _acquired(path: Path, state: Path, wait: float, say: Callable[[str], object]) -> int | None:
    """Return the open file of the lock once it is held, None where there are no locks."""
    begin, told = time.monotonic(), False
    while True:
        try:
            lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise InputError(
                f"cannot make {path}, which keeps writers of {state} apart: {error.strerror}; "
                "name a state in a folder that can be written to"
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(lock)
            if error.errno in _NO_LOCKS:
                path.unlink(missing_ok=True)
                return None
            if error.errno not in _HELD:
                raise
        else:
            if _is_at(path, lock):
                return lock
            os.close(lock)  # its last holder removed it in between
            continue
        if time.monotonic() - begin >= wait:
            raise InputError(
                f"{state} is being written by {_holder(path)}; wait for it to end, "
                "or longer with --wait SECONDS"
            )
        if not told:
            say(f"waiting for {_holder(path)}, which is writing {state}")
            told = True
        time.sleep(_LOOKS_EVERY)


def _is_at(path: Path, file: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file))
    except FileNotFoundError:
        return False


def _this_process() -> dict[str, object]:
    program, *arguments = sys.argv
    return {
        "pid": os.getpid(),
        "command": shlex.join([Path(program).name, *arguments]),
        "host": socket.gethostname(),
        "since": datetime.now().astimezone().isoformat(timespec="seconds"),
    }


def _holder(path: Path) -> str:
    """Return who holds a lock, as far as its file says it."""
    try:
        found = json.loads(path.read_text(encoding="utf-8", errors="replace"))
        return "`{command}` (process {pid} on {host}, since {since})".format(**found)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return "another process"
