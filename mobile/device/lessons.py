"""What is known, what is learnt in a lesson, and where: which labels are new, and which task."""

from collections.abc import Sequence
from dataclasses import dataclass

from cbpnet.data.labels import fold_label
from cbpnet.host.errors import InputError
from cbpnet.host.text import listed
from cbpnet.method.state import HostState
from cbpnet.run.advice import Recall
from cbpnet.run.journal import Journal
from cbpnet.run.lesson import Decision
from mobile.device.kept_pictures import NO_PICTURES, KeptPictures

__all__ = ["Forecast", "Knowledge", "Lesson", "check_labels", "new_labels", "plan_lessons"]


@dataclass(frozen=True)
class Knowledge:
    """All that learning changes, in one object, so that it changes at once.

    ``class_names`` are the known classes' labels, by class number; ``lessons`` counts the calls of
    learn on the device; ``kept`` are pictures of known classes. ``journal`` is what they were
    learnt from, None where a bundle has tasks.
    """

    state: HostState
    class_names: tuple[str, ...]
    lessons: int
    kept: KeptPictures = NO_PICTURES
    journal: Journal | None = None

    @property
    def images(self) -> dict[str, int]:
        """How many images each known class was learnt from."""
        counts = self.state["classes.count"].astype(int).tolist()
        return dict(zip(self.class_names, counts, strict=False))

    @property
    def known_tasks(self) -> int:
        """The number of tasks that have been begun, or of lessons where there are no tasks."""
        return self.state.known_tasks

    def task_of(self, label: str) -> int:
        """Return the task, counted from 0, that a known class belongs to."""
        return int(self.state["classes.task"][self.class_names.index(label)])


@dataclass(frozen=True)
class Forecast:
    """What is still to come of a one-pass lesson when its ``images`` have been looked at.

    ``looks`` is what progress will yet count, and ``seconds`` is judged by what looking took.
    """

    decision: Decision
    images: int
    looks: int
    seconds: float

    @property
    def passes(self) -> float:
        """Passes forward or backward through the trunk, for each of the images."""
        return self.decision.passes / self.images


@dataclass(frozen=True)
class Lesson:
    """What was learnt at once, and the labels of the images.

    ``new`` are the labels that were not known before, ``known`` the others. ``task`` is the task's
    number, counted from 1, where the bundle has tasks, else None; ``decision`` says whether a
    one-pass bundle adapted its features and why, and is None of another. ``recall`` says how its
    images are classified now, each left out.
    """

    task: int | None
    new: tuple[str, ...]
    known: tuple[str, ...]
    images: int
    decision: Decision | None = None
    recall: tuple[Recall, ...] = ()


def new_labels(before: Knowledge, labels: Sequence[str]) -> list[str]:
    """Return those labels that are new.

    Raises:
        InputError: there is no label, a label differs from another one in case or Unicode form
            only, or there is no room for the new classes.
    """
    if not labels:
        raise InputError("there are no images to learn from; right would be one class or more")
    check_labels(before.class_names, labels)
    new = [label for label in labels if label not in before.class_names]
    capacity = len(before.state["classes.count"])
    free = capacity - len(before.class_names)
    if len(new) > free:
        raise InputError(
            f"{listed(new)}: {len(new)} new classes do not fit, {free} of the bundle's {capacity} "
            "are free; learn fewer, or export with more --classes"
        )
    return new


def plan_lessons(
    before: Knowledge, labels: Sequence[str], task: int | None
) -> dict[int, list[str]]:
    """Return the labels to be learnt in each task, by the task's number counted from 0.

    A known class is learnt in its own task. New ones begin a task of their own, unless ``task``,
    counted from 1, names a known one that they join.

    Raises:
        InputError: as `new_labels`; or there is no room for the new task, or ``task`` has no use.
    """
    new = new_labels(before, labels)
    planned: dict[int, list[str]] = {}
    for label in labels:
        if label not in new:
            planned.setdefault(before.task_of(label), []).append(label)
    if new:
        planned.setdefault(_task_of_new(before, new, task), []).extend(new)
    elif task is not None:
        raise InputError(
            f"task {task} was named for new classes, and there are none: {listed(labels)} known "
            "already; leave the task out"
        )
    return dict(sorted(planned.items()))


def _task_of_new(before: Knowledge, new: Sequence[str], task: int | None) -> int:
    known = before.known_tasks
    if task is not None:
        if not 1 <= task <= known:
            raise InputError(
                f"task {task} is not one of the {known} known tasks, counted from 1; name one of "
                "them, or leave it out to begin a new task"
            )
        return task - 1
    if known == len(before.state["tasks.known"]):
        raise InputError(
            f"{listed(new)}: no new task can be begun, all {known} of the bundle are in use; "
            "export with more --tasks, or let the new classes join a known task with task=N "
            f"(--task N), N from 1 to {known}"
        )
    return known


def check_labels(known: Sequence[str], labels: Sequence[str], but: str | None = None) -> None:
    """Raise `InputError` for two labels that a file system may take for one.

    The known class ``but`` is going to have another name.
    """
    seen = {fold_label(name): name for name in known if name != but}
    for label in labels:
        other = seen.setdefault(fold_label(label), label)
        if other != label:
            whose = "the known class" if other in known else "another new class"
            raise InputError(
                f"class {label!r} differs from {whose} {other!r} in case or Unicode form only; "
                f"name it {other!r} to add images to that class, or rename it"
            )
