"""Lessons that are put into a folder, and learnt once each, whatever is switched off when.

A lesson is a folder of class folders. It is taken from ``waiting``, lies in ``learning`` under the
number that the lesson will have, and goes to ``learnt``, or to ``refused`` with a reason. The state
counts its lessons: one that is found in ``learning`` under a number that the state has passed was
learnt and saved before the power went, and is moved on; any other is learnt again.
"""

from collections.abc import Callable
from pathlib import Path

from cbpnet.data.folder import read_class_folders
from cbpnet.host.atomic import flush_folder, make_folder, write_atomically
from cbpnet.host.errors import InputError
from mobile.device.lessons import Lesson
from mobile.device.runtime import OnDeviceLearner

__all__ = ["Inbox"]


class Inbox:
    """A folder of lessons, and the learner and state file that they go to.

    Args:
        folder: the inbox; its folders are made where they are missing.
        learner: what learns; it knows what the state file does.
        state: the state file, written after each lesson.
        say: is told, in sentences, which images of a lesson are left out.

    Raises:
        InputError: its folders cannot be made.
    """

    def __init__(
        self,
        folder: Path,
        learner: OnDeviceLearner,
        state: Path,
        say: Callable[[str], object] = lambda sentence: None,
    ) -> None:
        self.waiting, self.learning = folder / "waiting", folder / "learning"
        self.learnt, self.refused = folder / "learnt", folder / "refused"
        for each in (self.waiting, self.learning, self.learnt, self.refused):
            make_folder(each)
        self._learner, self._state, self._say = learner, state, say

    def learn_next(
        self, learn: Callable[[dict[str, list[Path]]], list[Lesson]]
    ) -> tuple[str, list[Lesson]] | None:
        """Learn the next lesson by name, save the state, and return the lesson's name and tasks.

        There are no tasks for a lesson that was refused. Returns None where none is waiting;
        folders whose names begin with a dot are still being filled.

        Args:
            learn: teaches the learner the images of each class, and returns the tasks.

        Raises:
            InputError: the state or a folder cannot be written; the lesson stays in ``learning``.
        """
        lesson = self._resumed() or self._taken()
        if lesson is None:
            return None
        try:
            classes, notes = read_class_folders(lesson)
            for note in notes:
                self._say(note)
            tasks = learn(classes)
        except InputError as error:
            self._refuse(lesson, str(error))
            return lesson.name, []
        self._learner.save(self._state)
        self._move(lesson, self.learnt / lesson.name)
        return lesson.name, tasks

    def _resumed(self) -> Path | None:
        """Return the lesson that was being learnt when the power went, unless it was finished."""
        for lesson in _visible_folders(self.learning):
            number = lesson.name.partition("-")[0]
            if number.isdigit() and int(number) < self._learner.lessons:
                self._move(lesson, self.learnt / lesson.name)
            else:
                return lesson
        return None

    def _taken(self) -> Path | None:
        for lesson in _visible_folders(self.waiting):
            name = f"{self._learner.lessons:06d}-{lesson.name}"
            return self._move(lesson, self.learning / name)
        return None

    def _refuse(self, lesson: Path, reason: str) -> None:
        moved = self._move(lesson, self.refused / lesson.name)
        write_atomically(moved.with_name(f"{moved.name}.txt"), f"{reason}\n".encode())

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
