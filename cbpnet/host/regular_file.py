"""Opening what is a file, and nothing that only has a file's name."""

import errno
import os
import stat
from pathlib import Path
from typing import IO

__all__ = ["open_regular"]

_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def open_regular(path: Path) -> IO[bytes]:
    """Open a regular file, or one that a link leads to, for reading; nothing else is waited for.

    Raises:
        OSError: it cannot be opened, or is a folder, a pipe, a socket or a device, as its
            `strerror` says.
    """
    _check(path, path.stat().st_mode)  # opening a device may do something
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        _check(path, os.fstat(descriptor).st_mode)  # what it is by now
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def _check(path: Path, mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "something else")
        raise OSError(errno.EINVAL, f"it is {kind} and no file", str(path))
