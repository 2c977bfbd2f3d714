"""How often a lesson was begun, and what ended each attempt, in files beside the lesson.

Nothing of Python runs where native code hangs or crashes, or where the kernel ends the process. So
what ends an attempt is written by `faulthandler`, whose C code needs no interpreter, into a file
that is there before the attempt and gone after it: an empty one is of a process that was killed.
"""

import faulthandler
import json
import os
import secrets
import signal
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from cbpnet.host.atomic import write_atomically
from cbpnet.host.dataclass_json import from_json
from cbpnet.host.errors import InputError

__all__ = ["Attempt", "Attempts", "Ending", "forget", "how_it_ended", "read_attempts"]

_STOPS = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True)
class Attempts:
    """The file beside a lesson that is being learnt.

    ``identity`` is what the state will hold when it has learnt the lesson; ``begun`` how often that
    was begun; ``done`` the inbox's folder that it belongs into, empty before it is done with.
    """

    identity: str
    begun: int = 0
    done: str = ""

    def write(self, lesson: Path) -> None:
        """Write the file; raises as `write_atomically`."""
        write_atomically(_attempts_path(lesson), json.dumps(asdict(self)).encode())


@dataclass(frozen=True)
class Ending:
    """What ended an attempt: a sentence, and the whole of what was recorded.

    ``asked`` says that the process was told to stop, which is not the lesson's doing.
    """

    sentence: str
    record: str
    asked: bool = False


def read_attempts(lesson: Path) -> Attempts:
    """Return the attempts at a lesson; none, under a new identity, where they are not counted."""
    try:
        content = json.loads(_attempts_path(lesson).read_text(encoding="utf-8"))
        return from_json(Attempts, content)
    except (OSError, ValueError):
        return Attempts(secrets.token_hex(8))


def forget(lesson: Path) -> None:
    """Remove the files beside a lesson.

    Raises:
        InputError: one cannot be removed.
    """
    for path in (_attempts_path(lesson), _record_path(lesson)):
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise InputError(
                f"cannot remove {path}: {error.strerror}; the inbox must be writable"
            ) from error


def how_it_ended(lesson: Path) -> Ending:
    """Return what ended the last attempt at a lesson, of one that did not end by itself."""
    try:
        record = _record_path(lesson).read_text(encoding="utf-8", errors="replace")
    except OSError:
        record = ""
    first = record.partition("\n")[0]
    if not first:
        return Ending("it was killed, most likely for lack of memory, or the power went", record)
    if first.startswith("Timeout ("):
        duration = first.removeprefix("Timeout (").rstrip(")!")
        return Ending(f"it hung: no picture was done with for {duration} (--patience)", record)
    if first.startswith("Fatal Python error: "):
        return Ending(f"it crashed ({first.removeprefix('Fatal Python error: ')})", record)
    if first.startswith(("Current thread ", "Thread ")):
        return Ending("it was told to stop", record, asked=True)
    if first.startswith("MemoryError"):
        return Ending(f"there was not memory enough ({first})", record)
    return Ending(f"it failed ({first})", record)


class Attempt:
    """Records what ends the process while a lesson is learnt, and ends it where that hangs.

    A context manager. Where it is left in Python its record goes, but for that of an exception
    which is not the user's to put right. To enter it raises `InputError` where that cannot be
    written.

    Args:
        lesson: the lesson; its record stands beside it.
        patience: seconds after which a process that has told of no `progress` is ended with status
            1, whatever native code it is in; above 0.
    """

    def __init__(self, lesson: Path, patience: float) -> None:
        self._path, self._patience = _record_path(lesson), patience
        self._enabled = faulthandler.is_enabled()

    def __enter__(self) -> Self:
        try:
            self._record: IO[bytes] = self._path.open("wb")
            os.fsync(self._record.fileno())
        except OSError as error:
            raise InputError(
                f"cannot write {self._path}: {error.strerror}; the inbox must be writable"
            ) from error
        faulthandler.enable(self._record)
        for stop in _STOPS:  # heard here while native code keeps Python from hearing it
            faulthandler.register(stop, self._record, chain=True)
        self.progress()
        return self

    def __exit__(
        self, _: object, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        faulthandler.cancel_dump_traceback_later()
        for stop in _STOPS:
            faulthandler.unregister(stop)
        faulthandler.disable()
        if self._enabled:
            faulthandler.enable(sys.__stderr__ or 2)
        with self._record as record:
            if isinstance(error, Exception) and not isinstance(error, InputError):
                record.truncate(0)
                record.write(f"{type(error).__name__}: {error}\n".encode(errors="backslashreplace"))
                return
        with suppress(OSError):  # the next attempt writes it anew
            self._path.unlink()

    def progress(self) -> None:
        """Say that a picture is done with."""
        faulthandler.dump_traceback_later(self._patience, file=self._record, exit=True)


def _attempts_path(lesson: Path) -> Path:
    return lesson.with_name(f"{lesson.name}.json")


def _record_path(lesson: Path) -> Path:
    return lesson.with_name(f"{lesson.name}.ended")
