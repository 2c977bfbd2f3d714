"""Writing a file so that a reader, or a power cut, never meets half of it."""

import errno
import fcntl
import os
import re
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from cbpnet.host.errors import InputError

__all__ = [
    "final_path",
    "flush_folder",
    "make_folder",
    "real_path",
    "remove_temporary",
    "write_atomically",
]

_TEMPORARY = re.compile(r"\.(.+)\.[0-9a-f]{8}\.tmp")


def make_folder(folder: Path) -> None:
    """Make a folder where it is missing, and check that files can be written to it.

    To be called before the work whose results belong there.

    Raises:
        InputError: the folder cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise InputError(
            f"cannot make the folder {folder} or write to it: {error.strerror}; "
            "name one where that is possible"
        ) from error


def real_path(path: Path) -> Path:
    """Return where a file stands, or will, that a path names: behind links."""
    return Path(os.path.realpath(path))


def write_atomically(
    path: Path, content: bytes, older: Path | None = None, like: Path | None = None
) -> None:
    """Write `content` to `path` entirely or not at all.

    The bytes go to a temporary file in the same folder, are flushed to the disc, and take the
    name `path` in one step. After any failure or interruption an older file at `path` is as it
    was, and the temporary file is gone; what a process left that was killed is removed.

    A link stays one, and its target is written. Permissions, owner and group stay as they were, as
    far as this user may give them; a new file has those of any new one.

    Args:
        path: where the file is, or will be.
        content: its bytes.
        older: where a file goes, in the same folder, that is at ``path`` before; by default it goes
            for good.
        like: the file whose permissions a new one has; by default it has those of any new one.

    Raises:
        InputError: the file cannot be written (no such folder, no permission, disc full).
    """
    try:
        target = real_path(path)
        if target.is_symlink():
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        if target.exists() and not target.is_file():
            raise OSError(errno.EINVAL, "it is no file")
        for each in filter(None, (target, older)):
            _remove_temporaries(each)
        model = next((each for each in (target, like) if each and each.exists()), None)
        with _temporary(target, 0o666 if model is None else 0o600) as (temporary, file):
            if model is not None:
                _give_permissions(file.fileno(), model.stat())
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            if older is not None and target.exists():
                _keep(target, older)
            temporary.replace(target)
    except OSError as error:
        raise InputError(
            f"cannot write {path}: {error.strerror or error}; "
            "name a file in a folder that exists, is writable and has room"
        ) from error
    flush_folder(target.parent)


def final_path(path: Path) -> Path:
    """Return what a temporary file of `write_atomically` was to be, any other file itself."""
    found = _TEMPORARY.fullmatch(path.name)
    return path if found is None else path.with_name(found[1])


def remove_temporary(path: Path) -> None:
    """Remove a temporary file of `write_atomically`, unless a process is writing it."""
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
        finally:
            os.close(descriptor)


def flush_folder(folder: Path) -> None:
    """Let the names in a folder, new and gone, survive a power cut.

    Some file systems refuse to; the files themselves are complete, so a refusal is no failure.
    """
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def _temporary(target: Path, mode: int) -> Iterator[tuple[Path, BinaryIO]]:
    """Make an empty file beside another one; it is locked, so that nobody takes it for left over.

    Unless it is renamed it is removed.
    """
    path = _temporary_path(target)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        try:
            with suppress(OSError):  # where there are no locks, nobody removes it for want of one
                fcntl.flock(file, fcntl.LOCK_EX)
            yield path, file
        except BaseException:
            with suppress(OSError):
                path.unlink()
            raise


def _temporary_path(target: Path) -> Path:
    return target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")


def _remove_temporaries(target: Path) -> None:
    with suppress(OSError):
        for path in list(target.parent.iterdir()):
            if path != target and final_path(path) == target:
                remove_temporary(path)


def _give_permissions(descriptor: int, model: os.stat_result) -> None:
    """Give an open file the permissions, the owner and the group of another one, if we may.

    Where the group cannot be had, its members become others: they may do no more than those.
    """
    mode = stat.S_IMODE(model.st_mode)
    with suppress(OSError):
        os.fchown(descriptor, -1, model.st_gid)
    with suppress(OSError):
        os.fchown(descriptor, model.st_uid, -1)
    if os.fstat(descriptor).st_gid != model.st_gid:
        mode &= ~0o070 | (mode & 0o007) << 3
    with suppress(PermissionError):  # of file systems that have no such thing
        os.fchmod(descriptor, mode)


def _keep(target: Path, older: Path) -> None:
    """Give a file another name too, in one step."""
    if older.exists() and older.samefile(
        target
    ):  # who did so was killed, and renaming does nothing
        return
    temporary = _temporary_path(older)
    try:
        try:
            os.link(target, temporary)
        except OSError:  # of file systems without links
            shutil.copy2(target, temporary)
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
        temporary.replace(older)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
