"""Lessons that are put into a folder, and learnt once each, whatever is switched off when.

A lesson is a folder of class folders. It is taken from ``waiting``, lies in ``learning`` while it
is learnt, and goes to ``learnt``, or to ``refused`` with a reason. Beside one in ``learning`` a
file has an identity, which the state will hold when it has learnt the lesson: one that is found
there after the power went was saved if it is the state's last, and is moved on; any other is learnt
again. The file counts the attempts, too, before each begins: a lesson that has ended the process
twice is refused, so that those behind it are learnt.
"""

import math
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from cbpnet.data.folder import read_class_folders
from cbpnet.host.atomic import flush_folder, make_folder, write_atomically
from cbpnet.host.errors import InputError
from mobile.device.attempts import Attempt, forget, how_it_ended, read_attempts
from mobile.device.lessons import Lesson
from mobile.device.runtime import OnDeviceLearner
from mobile.device.state_lock import writing

__all__ = ["Inbox"]

_ATTEMPTS = 2
_LONGEST = 200  # bytes of a lesson's name, of the 255 that file systems have


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
        patience: seconds in which a picture of a lesson has to be done with, see `progress`; above
            0. A lesson that takes longer has hung, and ends the process.
        alive: is called when a picture is done with.

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
        patience: float = 600,
        alive: Callable[[], object] = lambda: None,
    ) -> None:
        self.waiting, self.learning = folder / "waiting", folder / "learning"
        self.learnt, self.refused = folder / "learnt", folder / "refused"
        for each in (self.waiting, self.learning, self.learnt, self.refused):
            make_folder(each)
        self._learner, self._state, self._pictures, self._say = learner, state, pictures, say
        self._patience, self._alive = patience, alive
        self._attempt: Attempt | None = None
        self._passed_over: dict[Path, int] = {}  # when each was changed last

    def learn_next(
        self, learn: Callable[[dict[str, list[Path]]], list[Lesson]]
    ) -> tuple[str, list[Lesson]] | None:
        """Learn the next lesson by name, save the state, and return the lesson's name and tasks.

        There are no tasks for a lesson that was refused. Returns None where none is waiting;
        folders whose names begin with a dot are still being filled. From reading the state to
        writing it no other program writes it; one that does so now is waited for. What was left out
        of a lesson stands in a text file beside it in ``learnt``. One that cannot be moved is
        passed over, and says why in ``refused``.

        Args:
            learn: teaches the learner the images of each class, tells of each by `progress`, and
                returns the tasks.

        Raises:
            InputError: the state or a folder cannot be written; the lesson stays in ``learning``.
        """
        if not self._lessons(self.learning) and not self._lessons(self.waiting):
            return None
        with writing(self._state, math.inf, self._say):
            if self._state.exists() and not self._learner.is_current(self._state):
                self._learner.resume(self._state, self._pictures)
            lesson = self._resumed() or self._taken()
            return None if lesson is None else self._learn(lesson, learn)

    def progress(self, images: int = 1) -> None:
        """Say that images of the lesson that is being learnt are done with."""
        if self._attempt is not None:
            self._attempt.progress()
        self._alive()

    def _learn(
        self, lesson: Path, learn: Callable[[dict[str, list[Path]]], list[Lesson]]
    ) -> tuple[str, list[Lesson]]:
        before = read_attempts(lesson)
        if before.begun:
            ending = how_it_ended(lesson)
            if ending.asked:
                before = replace(before, begun=before.begun - 1)
            elif before.begun >= _ATTEMPTS:
                reason = (
                    f"the process was ended {before.begun} times while it learnt this lesson; the "
                    f"last time {ending.sentence}; put it into waiting again, with fewer or "
                    "smaller pictures"
                )
                return self._refuse(lesson, reason, ending.record), []
            else:
                self._say(
                    f"{lesson.name}: the process was ended while it learnt this: "
                    f"{ending.sentence}; attempt {before.begun + 1} of {_ATTEMPTS}"
                )
        replace(before, begun=before.begun + 1).write(lesson)
        try:
            tasks, notes, reason = self._attempted(lesson, learn)
        except InputError:  # its record cannot be written, which is not the lesson's doing
            before.write(lesson)
            raise
        except Exception:
            raise
        except BaseException:  # nor is that it was asked to stop
            before.write(lesson)
            raise
        if reason:
            return self._refuse(lesson, reason), []
        try:
            self._learner.save(self._state, inbox=before.identity)
        except InputError:  # nor is a full disk
            before.write(lesson)
            raise
        return self._file(lesson, self.learnt, notes), tasks

    def _attempted(
        self, lesson: Path, learn: Callable[[dict[str, list[Path]]], list[Lesson]]
    ) -> tuple[list[Lesson], str, str]:
        """Return the tasks of a lesson, a line for each thing left out, and why it is refused."""
        with Attempt(lesson, self._patience) as self._attempt:
            try:
                classes, notes = read_class_folders(lesson, progress=self._each)
                for note in notes:
                    self._say(note)
                return learn(classes), "".join(f"{note}\n" for note in notes), ""
            except InputError as error:
                return [], "", str(error)
            finally:
                self._attempt = None

    def _each(self, images: Iterable[Any]) -> Iterator[Any]:
        for image in images:
            yield image
            self.progress()

    def _lessons(self, folder: Path) -> list[Path]:
        """Return what there is to learn in a folder; what was passed over, if it was changed."""
        return [
            lesson
            for lesson in _visible_folders(folder)
            if self._passed_over.get(lesson) != lesson.lstat().st_ctime_ns
        ]

    def _resumed(self) -> Path | None:
        """Return the lesson that was being learnt when the power went, unless it was saved."""
        for lesson in self._lessons(self.learning):
            attempts = read_attempts(lesson)
            if attempts.done:
                self._file(lesson, self.refused.with_name(attempts.done))
            elif attempts.identity == self._learner.inbox:
                self._file(lesson, self.learnt)
            elif _short(lesson.name) == lesson.name:
                return lesson
            else:
                return self._move(lesson, lesson.with_name(_short(lesson.name)))
        return None

    def _taken(self) -> Path | None:
        for lesson in self._lessons(self.waiting):
            place = self.learning / f"{self._learner.lessons:06d}-{_short(lesson.name)}"
            forget(place)  # of one before it that was refused
            try:
                taken = self._move(lesson, place)
            except InputError as error:  # another user's folder; those behind it can be learnt
                self._pass_over(lesson, error)
            else:
                with suppress(OSError):  # what said that it was passed over
                    _text_path(self.refused / _short(lesson.name)).unlink()
                return taken
        return None

    def _pass_over(self, lesson: Path, error: InputError) -> None:
        self._say(f"passed over: {error}")
        _write_text(self.refused / _short(lesson.name), f"{error}\n")
        self._passed_over[lesson] = lesson.lstat().st_ctime_ns

    def _refuse(self, lesson: Path, reason: str, record: str = "") -> str:
        return self._file(lesson, self.refused, f"{reason}\n" + (record and f"\n{record}"))

    def _file(self, lesson: Path, folder: Path, text: str = "") -> str:
        """Move a lesson that is done with, with its text beside it, and return its name there.

        One that cannot be moved stays, and is not learnt again.
        """
        try:
            moved = self._move(lesson, folder / lesson.name)
        except InputError as error:
            replace(read_attempts(lesson), done=folder.name).write(lesson)
            self._pass_over(lesson, error)
            moved = folder / lesson.name
        else:
            forget(lesson)
        if text:
            _write_text(moved, text)
        return moved.name

    def _move(self, lesson: Path, target: Path) -> Path:
        while os.path.lexists(target):
            target = target.with_name(f"{target.name}_")
        try:
            lesson.rename(target)
        except OSError as error:
            raise InputError(
                f"cannot move {lesson} to {target}: {error.strerror}; the lesson and the inbox's "
                "folders must be writable, and on one disk"
            ) from error
        for folder in (lesson.parent, target.parent):
            flush_folder(folder)
        return target


def _visible_folders(folder: Path) -> list[Path]:
    return sorted(
        entry
        for entry in folder.iterdir()
        # Path.is_dir raises where a link leads into a folder that is closed to this process.
        if not entry.name.startswith(".") and os.path.isdir(entry)  # noqa: PTH112
    )


def _short(name: str) -> str:
    """Return a lesson's name, cut where a file system has no room for what is put around it."""
    raw = os.fsencode(name)
    return name if len(raw) <= _LONGEST else raw[:_LONGEST].decode(errors="ignore")


def _text_path(lesson: Path) -> Path:
    return lesson.with_name(f"{lesson.name}.txt")


def _write_text(lesson: Path, text: str) -> None:
    """Write what there is to say of a lesson beside it."""
    write_atomically(_text_path(lesson), text.encode(errors="backslashreplace"))
