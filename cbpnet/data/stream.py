"""Class-incremental streams: the classes of a data set, met task after task."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Literal, get_args

import numpy as np

from cbpnet.data.dataset import Dataset
from cbpnet.data.images import ImageSource, Labels
from cbpnet.data.sampling import Indices, generator
from cbpnet.host.errors import InputError

__all__ = ["ClassOrder", "Holdout", "Task", "TaskStream", "fingerprint_stream", "make_stream"]

ClassOrder = Sequence[int] | Literal["natural", "random"]
Holdout = Literal["test", "validation"]

_FINGERPRINT_DIGITS = 16


@dataclass(frozen=True, eq=False)
class Task:
    """The images of a few new classes.

    `classes` are stream labels. `train` [N] are indices into the stream's `train_source`, `test`
    [M] into its `test_source`, each class after class; `train_labels` [N] and `test_labels` [M]
    are their stream labels.
    """

    index: int
    classes: range
    train: Indices
    train_labels: Labels
    test: Indices
    test_labels: Labels


@dataclass(frozen=True, eq=False)
class TaskStream:
    """Tasks in the order in which they are met, and the images that they index.

    Class k of the stream is `class_names[k]`, and is label `class_order[k]` of the data set; the
    labels that learners see are stream labels, so that task after task they count up from 0.
    `test_source` is the data set's test images or, for a validation stream, its training images.
    """

    class_names: tuple[str, ...]
    class_order: tuple[int, ...]
    tasks: tuple[Task, ...]
    train_source: ImageSource
    test_source: ImageSource
    notes: tuple[str, ...]


def make_stream(
    dataset: Dataset,
    classes_per_task: int | Sequence[int],
    train_per_class: int | None = None,
    test_per_class: int | None = None,
    seed: int = 0,
    class_order: ClassOrder = "natural",
    holdout: Holdout = "test",
) -> TaskStream:
    """Divide a data set's classes into tasks, with some images of each class.

    `classes_per_task` is one number for all tasks, of which the last may have fewer, or a number
    for each task, which together are all classes of the stream.

    `class_order` is the data set's own order, a random one drawn from `seed`, or the data set's
    labels in the wanted order; classes left out are not in the stream.

    Images are taken from the front of each class's own permutation, drawn from `seed` and the
    class's name: 20 images a class are among the 50 of the same seed, whatever other classes
    there are. None takes all. With `holdout` "validation" no test image is touched: the
    evaluation images are taken from the end of each class's permutation of training images, and
    of `train_per_class` and `test_per_class` one may be None, for all that the other leaves.

    What the user should know goes into the notes: a smaller last task, classes with fewer images
    than asked for.

    Raises InputError for a value out of range, an order that repeats or invents labels, and a
    validation stream whose evaluation images would overlap the training images.
    """
    order = _class_labels(class_order, len(dataset.class_names), seed)
    sizes = _task_sizes(classes_per_task, len(order))
    for name, value in (("training", train_per_class), ("test", test_per_class)):
        if value is not None and value < 1:
            raise InputError(f"{name} images per class is {value}; right would be 1 or more")
    if holdout not in get_args(Holdout):
        raise InputError(f"holdout is {holdout!r}; right would be 'test' or 'validation'")
    draw = _draw_validation if holdout == "validation" else _draw_test
    drawn = [draw(dataset, label, train_per_class, test_per_class, seed) for label in order]
    train, test = [pair[0] for pair in drawn], [pair[1] for pair in drawn]
    names = tuple(dataset.class_names[label] for label in order)
    return TaskStream(
        class_names=names,
        class_order=order,
        tasks=tuple(
            _task(index, range(first, end), train, test)
            for index, (first, end) in enumerate(pairwise(accumulate(sizes, initial=0)))
        ),
        train_source=dataset.train,
        test_source=dataset.train if holdout == "validation" else dataset.test,
        notes=(
            *_last_task_note(classes_per_task, sizes[-1]),
            *_shortage_note("training", names, train, train_per_class),
            *_shortage_note("test", names, test, test_per_class),
        ),
    )


def fingerprint_stream(stream: TaskStream) -> str:
    """Return 16 hexadecimal digits for a stream's tasks: their classes and images, by content.

    So a data set that has been moved or renamed is the same, and one with another picture under an
    old name is not.
    """
    digest = hashlib.sha256()
    for task in stream.tasks:
        for source, indices, labels in (
            (stream.train_source, task.train, task.train_labels),
            (stream.test_source, task.test, task.test_labels),
        ):
            digest.update(b"\n")
            for index, label in zip(indices, labels, strict=True):
                digest.update(f"{stream.class_names[label]}\0".encode())
                digest.update(hashlib.sha256(source.content(int(index))).digest())
    return digest.hexdigest()[:_FINGERPRINT_DIGITS]


def _class_labels(class_order: ClassOrder, classes: int, seed: int) -> tuple[int, ...]:
    if class_order == "natural":
        return tuple(range(classes))
    if class_order == "random":
        return tuple(generator(seed, "class order").permutation(classes).tolist())
    if isinstance(class_order, str):
        raise InputError(
            f"class order is {class_order!r}; right would be 'natural', 'random' or labels"
        )
    order = tuple(class_order)
    if not order or len(set(order)) < len(order) or not set(order) <= set(range(classes)):
        raise InputError(
            f"class order is {list(order)}; "
            f"right would be different labels, each from 0 to {classes - 1}"
        )
    return order


def _task_sizes(classes_per_task: int | Sequence[int], classes: int) -> tuple[int, ...]:
    if isinstance(classes_per_task, int):
        if not 1 <= classes_per_task <= classes:
            raise InputError(
                f"classes per task is {classes_per_task}; "
                f"right would be from 1 to the stream's {classes} classes"
            )
        full, rest = divmod(classes, classes_per_task)
        return (classes_per_task,) * full + (rest,) * (rest > 0)
    sizes = tuple(classes_per_task)
    if min(sizes, default=0) < 1 or sum(sizes) != classes:
        raise InputError(
            f"classes per task are {list(sizes)}; "
            f"right would be numbers of at least 1 with the sum {classes}"
        )
    return sizes


def _shuffled(source: ImageSource, label: int, seed: int, *purpose: str) -> Indices:
    members = np.flatnonzero(source.labels == label)
    return generator(seed, *purpose).permutation(members)


def _draw_test(
    dataset: Dataset, label: int, train_count: int | None, test_count: int | None, seed: int
) -> tuple[Indices, Indices]:
    name = dataset.class_names[label]
    train = _shuffled(dataset.train, label, seed, "train", name)
    test = _shuffled(dataset.test, label, seed, "test", name)
    return train[:train_count], test[:test_count]


def _draw_validation(
    dataset: Dataset, label: int, train_count: int | None, validation_count: int | None, seed: int
) -> tuple[Indices, Indices]:
    if train_count is None and validation_count is None:
        raise InputError(
            "a validation stream was given neither training nor test images per class; "
            "right would be a number for at least one of them"
        )
    name = dataset.class_names[label]
    members = _shuffled(dataset.train, label, seed, "train", name)
    if train_count is None:
        train_count = len(members) - (validation_count or 0)
    if validation_count is None:
        validation_count = len(members) - train_count
    if train_count < 1 or validation_count < 1 or train_count + validation_count > len(members):
        raise InputError(
            f"class {name!r} has {len(members)} training images, too few for {train_count} to "
            f"train on and {validation_count} others to validate on; right would be fewer of either"
        )
    return members[:train_count], members[-validation_count:]


def _task(index: int, classes: range, train: list[Indices], test: list[Indices]) -> Task:
    def labels(images: list[Indices]) -> Labels:
        return np.repeat(np.array(classes, np.int64), [len(images[label]) for label in classes])

    return Task(
        index=index,
        classes=classes,
        train=np.concatenate([train[label] for label in classes]),
        train_labels=labels(train),
        test=np.concatenate([test[label] for label in classes]),
        test_labels=labels(test),
    )


def _last_task_note(classes_per_task: int | Sequence[int], last: int) -> list[str]:
    smaller = isinstance(classes_per_task, int) and last < classes_per_task
    return [f"the last task has {last} of {classes_per_task} classes"] if smaller else []


def _shortage_note(
    purpose: str, names: Sequence[str], images: list[Indices], wanted: int | None
) -> list[str]:
    """Name the classes with fewer images than wanted or, where all are wanted, with none."""
    short = [
        f"{name} ({len(part)})"
        for name, part in zip(names, images, strict=True)
        if len(part) < (wanted or 1)
    ]
    asked = (
        f"fewer {purpose} images than the {wanted} asked for" if wanted else f"no {purpose} image"
    )
    return (
        [f"{len(short)} of {len(names)} classes have {asked}: {', '.join(short)}"] if short else []
    )
