"""A long stream whose domain changes: lessons of a few classes, from several data sets in turns."""

import hashlib
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, islice

import numpy as np

from cbpnet.data.dataset import Dataset
from cbpnet.data.images import ImageSource, Labels
from cbpnet.data.sampling import Indices, generator
from cbpnet.host.errors import InputError

__all__ = ["Lesson", "LongStream", "Pictures", "fingerprint_long_stream", "make_long_stream"]

_FINGERPRINT_DIGITS = 16


@dataclass(frozen=True, eq=False)
class Pictures:
    """Some images of a source, [N] indices, and their stream labels [N]."""

    source: ImageSource
    indices: Indices
    labels: Labels

    def of_classes(self, classes: Sequence[int]) -> "Pictures":
        """Return those of some classes."""
        chosen = np.isin(self.labels, classes)
        return Pictures(self.source, self.indices[chosen], self.labels[chosen])


@dataclass(frozen=True, eq=False)
class Lesson:
    """Images of a few classes of one data set, by its name; ``classes`` are stream labels."""

    dataset: str
    classes: tuple[int, ...]
    train: Pictures


@dataclass(frozen=True, eq=False)
class LongStream:
    """Lessons in the order in which they are met.

    Class k of the stream is `class_names[k]`, "DATA SET/CLASS"; classes count up from 0 as they are
    first met. ``tests`` are the test images of all of them, by data set.
    """

    class_names: tuple[str, ...]
    lessons: tuple[Lesson, ...]
    tests: Mapping[str, Pictures]
    notes: tuple[str, ...]


def make_long_stream(
    datasets: Sequence[Dataset],
    lessons: int,
    classes: tuple[int, int],
    train_per_class: int,
    test_per_class: int,
    seed: int = 0,
) -> LongStream:
    """Draw a stream of so many ``lessons``, from the data sets in turns.

    A lesson has as many classes as are drawn from the range ``classes``, both ends included, or
    what is left of a round. In a round a data set's classes are met once, in an order drawn from
    ``seed``; in the next one they come again, in another order and with other images, so that no
    training image is met twice. A data set whose images are used up leaves the stream, which a note
    says. Images are taken from the front of each class's own permutation, as in `make_stream`; a
    class's test images stay the same.

    Raises InputError for a number out of range, two data sets of one name, a data set too small for
    a lesson, a class without a test image, and where the data sets give fewer lessons.
    """
    _check(datasets, lessons, classes, train_per_class, test_per_class)
    drawn = list(islice(_in_turns(datasets, classes, train_per_class, seed), lessons))
    if len(drawn) < lessons:
        raise InputError(
            f"the data sets give {len(drawn)} lessons with {train_per_class} training images a "
            f"class, not {lessons}; right would be fewer of either, or another data set"
        )
    numbers: dict[str, int] = {}
    numbered = tuple(_numbered(numbers, one) for one in drawn)
    last = {lesson.dataset: place for place, lesson in enumerate(numbered, start=1)}
    return LongStream(
        class_names=tuple(numbers),
        lessons=numbered,
        tests={
            dataset.name: _tests(dataset, numbers, test_per_class, seed)
            for dataset in datasets
            if dataset.name in last
        },
        notes=tuple(
            f"{name} leaves the stream after lesson {place}: its training images are used up"
            for name, place in last.items()
            if place <= lessons - len(last)
        ),
    )


def fingerprint_long_stream(stream: LongStream) -> str:
    """Return 16 hexadecimal digits for a stream's lessons and tests: their images, by content."""
    digest = hashlib.sha256()
    for pictures in (*(lesson.train for lesson in stream.lessons), *stream.tests.values()):
        digest.update(b"\n")
        for index, label in zip(pictures.indices, pictures.labels, strict=True):
            digest.update(f"{stream.class_names[label]}\0".encode())
            digest.update(hashlib.sha256(pictures.source.content(int(index))).digest())
    return digest.hexdigest()[:_FINGERPRINT_DIGITS]


@dataclass(frozen=True, eq=False)
class _Drawn:
    """Some labels of a data set, and each one's images."""

    dataset: Dataset
    labels: list[int]
    train: list[Indices]


def _check(
    datasets: Sequence[Dataset],
    lessons: int,
    classes: tuple[int, int],
    train_per_class: int,
    test_per_class: int,
) -> None:
    for name, value in (
        ("lessons", lessons),
        ("training images per class", train_per_class),
        ("test images per class", test_per_class),
    ):
        if value < 1:
            raise InputError(f"{name} is {value}; right would be 1 or more")
    least, most = classes
    if not 2 <= least <= most:
        raise InputError(
            f"classes a lesson are {least} to {most}; right would be from 2 or more upwards"
        )
    for name, times in Counter(dataset.name for dataset in datasets).items():
        if times > 1:
            raise InputError(f"{times} data sets are called {name!r}; right would be other names")


def _in_turns(
    datasets: Sequence[Dataset], classes: tuple[int, int], train_per_class: int, seed: int
) -> Iterator[_Drawn]:
    waiting = deque(_rounds(dataset, classes, train_per_class, seed) for dataset in datasets)
    while waiting:
        rounds = waiting.popleft()
        if (drawn := next(rounds, None)) is not None:
            yield drawn
            waiting.append(rounds)


def _rounds(
    dataset: Dataset, classes: tuple[int, int], train_per_class: int, seed: int
) -> Iterator[_Drawn]:
    """Yield a data set's lessons, round after round, until its images are used up."""
    least, most = classes
    order = [
        _shuffled(dataset.train, label, seed, "train", name)
        for label, name in enumerate(dataset.class_names)
    ]
    draw = generator(seed, "long stream", dataset.name)
    for first in count(step=train_per_class):
        images = [members[first : first + train_per_class] for members in order]
        met = [label for label, part in enumerate(images) if len(part) == train_per_class]
        left = draw.permutation(met).tolist()
        if len(left) < least:
            if first == 0:
                raise InputError(
                    f"{dataset.name} has {len(left)} classes of {train_per_class} training images; "
                    f"right would be {least} or more, or fewer images of each"
                )
            return
        while len(left) >= least:
            size = int(draw.integers(least, most + 1))
            chosen, left = left[:size], left[size:]
            yield _Drawn(dataset, chosen, [images[label] for label in chosen])


def _numbered(numbers: dict[str, int], drawn: _Drawn) -> Lesson:
    """Return a lesson in stream labels; classes met for the first time get the next ``numbers``."""
    dataset = drawn.dataset
    names = [_class_name(dataset, label) for label in drawn.labels]
    classes = tuple(numbers.setdefault(name, len(numbers)) for name in names)
    labels = np.repeat(np.array(classes, np.int64), [len(indices) for indices in drawn.train])
    train = Pictures(dataset.train, np.concatenate(drawn.train), labels)
    return Lesson(dataset.name, classes, train)


def _tests(dataset: Dataset, numbers: Mapping[str, int], per_class: int, seed: int) -> Pictures:
    """Return the test images of those classes of a data set that the stream has."""
    found = {
        numbers[_class_name(dataset, label)]: _shuffled(dataset.test, label, seed, "test", name)
        for label, name in enumerate(dataset.class_names)
        if _class_name(dataset, label) in numbers
    }
    chosen = {number: indices[:per_class] for number, indices in found.items()}
    for number, indices in chosen.items():
        if not len(indices):
            name = list(numbers)[number]
            raise InputError(f"class {name} has no test image; right would be one or more of each")
    labels = np.repeat(np.array(list(chosen), np.int64), [len(part) for part in chosen.values()])
    return Pictures(dataset.test, np.concatenate(list(chosen.values())), labels)


def _class_name(dataset: Dataset, label: int) -> str:
    return f"{dataset.name}/{dataset.class_names[label]}"


def _shuffled(source: ImageSource, label: int, seed: int, *purpose: str) -> Indices:
    members = np.flatnonzero(source.labels == label)
    return generator(seed, *purpose).permutation(members)
