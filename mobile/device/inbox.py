"""Lessons that are put into a folder, and learnt once each, whatever is switched off when.

A lesson is a folder of class folders. It is taken from ``waiting``, lies in ``learning`` while it
is learnt, and goes to ``learnt``, or to ``refused`` with a reason. Beside one in ``learning`` a
file has an identity, which the state will hold when it has learnt the lesson: one that is found
there after the power went was saved if it is the state's last, and is moved on; any other is learnt
again. The file counts the attempts, too, before each begins: a lesson that has ended the process
twice is refused, so that those behind it are learnt.
"""

import json
import math
import os
import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from cbpnet.data.folder import read_class_folders
from cbpnet.host.atomic import flush_folder, make_folder, write_atomically
from cbpnet.host.dataclass_json import from_json
from cbpnet.host.errors import InputError
from mobile.device.lessons import Lesson
from mobile.device.runtime import OnDeviceLearner
from mobile.device.state_lock import writing

__all__ = ["Inbox"]

_ATTEMPTS = 2
_LONGEST = 200  # bytes of a lesson's name, of the 255 that file systems have


@dataclass(frozen=True)
class _Attempts:
    """The file beside a lesson that is being learnt: how often it was begun."""

    identity: str
    begun: int


class Inbox:
    """A folder of lessons, and the learner and state file that they go to.

    Other programs may write the state between two lessons: the learner goes on from what they
    wrote.

    Args:
        folder: the inbox; its folders are made where they are missing.
        learner: what learns; it knows what the state file does.
        state: the state file, written after each lesson.
        pictures: whether a state that another program wrote is read with its kept pictures.
        say: is told, in sentences, for whom the inbox waits, what it tries again or passes over.

    Raises:
        InputError: its folders cannot be made.
    """

    def __init__(
        self,
        folder: Path,
        learner: OnDeviceLearner,
        state: Path,
        pictures: bool = True,
        say: Callable[[str], object] = lambda sentence: None,
    ) -> None:
        self.waiting, self.learning = folder / "waiting", folder / "learning"
        self.learnt, self.refused = folder / "learnt", folder / "refused"
        for each in (self.waiting, self.learning, self.learnt, self.refused):
            make_folder(each)
        self._learner, self._state, self._pictures, self._say = learner, state, pictures, say
        self._passed_over: set[Path] = set()

    def learn_next(
        self, learn: Callable[[dict[str, list[Path]]], list[Lesson]]
    ) -> tuple[str, list[Lesson]] | None:
        """Learn the next lesson by name, save the state, and return the lesson's name and tasks.

        There are no tasks for a lesson that was refused. Returns None where none is waiting;
        folders whose names begin with a dot are still being filled. From reading the state to
        writing it no other program writes it; one that does so now is waited for.

        Args:
            learn: teaches the learner the images of each class, and returns the tasks.

        Raises:
            InputError: the state or a folder cannot be written; the lesson stays in ``learning``.
                One that cannot be taken from ``waiting`` is passed over.
        """
        if not _visible_folders(self.learning) and not _visible_folders(self.waiting):
            return None
        with writing(self._state, math.inf, self._say):
            if self._state.exists() and not self._learner.is_current(self._state):
                self._learner.resume(self._state, self._pictures)
            lesson = self._resumed() or self._taken()
            return None if lesson is None else self._learn(lesson, learn)

    def _learn(
        self, lesson: Path, learn: Callable[[dict[str, list[Path]]], list[Lesson]]
    ) -> tuple[str, list[Lesson]]:
        before = _read_attempts(lesson)
        if before.begun >= _ATTEMPTS:
            self._refuse(
                lesson,
                f"the process was ended {before.begun} times while it learnt this lesson, perhaps "
                "for lack of memory or power; put it into waiting again, with fewer or smaller "
                "pictures",
            )
            return lesson.name, []
        if before.begun:
            self._say(
                f"{lesson.name}: the process was ended while it learnt this; attempt "
                f"{before.begun + 1} of {_ATTEMPTS}"
            )
        _write_attempts(lesson, replace(before, begun=before.begun + 1))
        try:
            classes, notes = read_class_folders(lesson)
            for note in notes:
                self._say(note)
            tasks = learn(classes)
        except InputError as error:
            self._refuse(lesson, str(error))
            return lesson.name, []
        except Exception:
            raise
        except BaseException:  # it was asked to stop, which is not the lesson's doing
            _write_attempts(lesson, before)
            raise
        try:
            self._learner.save(self._state, inbox=before.identity)
        except InputError:  # nor is a full disk
            _write_attempts(lesson, before)
            raise
        self._file(lesson, self.learnt)
        return lesson.name, tasks

    def _resumed(self) -> Path | None:
        """Return the lesson that was being learnt when the power went, unless it was saved."""
        for lesson in _visible_folders(self.learning):
            if _read_attempts(lesson).identity != self._learner.inbox:
                return lesson
            self._file(lesson, self.learnt)
        return None

    def _taken(self) -> Path | None:
        for lesson in _visible_folders(self.waiting):
            place = self.learning / f"{self._learner.lessons:06d}-{_short(lesson.name)}"
            _attempts_path(place).unlink(missing_ok=True)  # of one before it that was refused
            try:
                return self._move(lesson, place)
            except InputError as error:  # another user's folder; those behind it can be learnt
                if lesson not in self._passed_over:
                    self._say(f"passed over: {error}")
                self._passed_over.add(lesson)
        return None

    def _refuse(self, lesson: Path, reason: str) -> None:
        moved = self._file(lesson, self.refused)
        text = f"{reason}\n".encode(errors="backslashreplace")
        write_atomically(moved.with_name(f"{moved.name}.txt"), text)

    def _file(self, lesson: Path, folder: Path) -> Path:
        """Move a lesson that is done with, and remove the count of its attempts."""
        moved = self._move(lesson, folder / lesson.name)
        _attempts_path(lesson).unlink(missing_ok=True)
        return moved

    def _move(self, lesson: Path, target: Path) -> Path:
        while target.exists():
            target = target.with_name(f"{target.name}_")
        try:
            lesson.rename(target)
        except OSError as error:
            raise InputError(
                f"cannot move {lesson} to {target}: {error.strerror}; the inbox's folders must be "
                "writable and on one disk"
            ) from error
        for folder in (lesson.parent, target.parent):
            flush_folder(folder)
        return target


def _visible_folders(folder: Path) -> list[Path]:
    return sorted(
        entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(".")
    )


def _short(name: str) -> str:
    """Return a lesson's name, cut where a file system has no room for what is put around it."""
    raw = os.fsencode(name)
    return name if len(raw) <= _LONGEST else raw[:_LONGEST].decode(errors="ignore")


def _attempts_path(lesson: Path) -> Path:
    return lesson.with_name(f"{lesson.name}.json")


def _read_attempts(lesson: Path) -> _Attempts:
    """Return the attempts at a lesson; none, under a new identity, where they are not counted."""
    try:
        content = json.loads(_attempts_path(lesson).read_text(encoding="utf-8"))
        return from_json(_Attempts, content)
    except (OSError, ValueError):
        return _Attempts(secrets.token_hex(8), begun=0)


def _write_attempts(lesson: Path, attempts: _Attempts) -> None:
    write_atomically(_attempts_path(lesson), json.dumps(asdict(attempts)).encode())
