"""Writing a file so that a reader, or a power cut, never meets half of it."""

import os
import re
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path

from cbpnet.host.errors import InputError

__all__ = ["final_path", "flush_folder", "make_folder", "write_atomically"]

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


def write_atomically(path: Path, content: bytes) -> None:
    """Write `content` to `path` entirely or not at all.

    The bytes go to a temporary file in the same folder, are flushed to the disc, and take the
    name `path` in one step. After any failure or interruption an older file at `path` is as it
    was, and the temporary file is gone; only a process that is killed leaves it.

    Raises:
        InputError: the file cannot be written (no such folder, no permission, disc full).
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        try:
            with temporary.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
    except OSError as error:
        raise InputError(
            f"cannot write {path}: {error.strerror or error}; "
            "name a file in a folder that exists, is writable and has room"
        ) from error
    flush_folder(path.parent)


def final_path(path: Path) -> Path:
    """Return what a temporary file of `write_atomically` was to be, any other file itself."""
    found = _TEMPORARY.fullmatch(path.name)
    return path if found is None else path.with_name(found[1])


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
