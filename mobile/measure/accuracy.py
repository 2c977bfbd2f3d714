"""How many of some images a bundle with a state is right about; interruptible after every batch."""

import hashlib
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from cbpnet.data.images import FileImages
from cbpnet.data.stream import TaskStream
from cbpnet.host.errors import InputError
from cbpnet.host.memory import peak_rss_mb
from cbpnet.host.text import listed
from cbpnet.run.training import INFERENCE_BATCH, Progress
from mobile.device.images import ImageLike
from mobile.device.runtime import OnDeviceLearner

__all__ = ["Accuracy", "ClassAccuracy", "Confusion", "TestImages", "measure_accuracy"]

_CONFUSIONS = 10


@dataclass(frozen=True)
class TestImages:
    """Images to be classified, by number: their right labels, their names, and themselves.

    ``content`` is what tells an image from any other, see `cbpnet.data.images.ImageSource`.
    """

    __test__ = False  # pytest takes the name for one of its own

    labels: Sequence[str]
    names: Sequence[str]
    image: Callable[[int], ImageLike]
    content: Callable[[int], bytes]

    @classmethod
    def of_folders(cls, classes: dict[str, list[Path]]) -> "TestImages":
        """Take all images of class folders."""
        paths = [path for few in classes.values() for path in few]
        labels = [label for label, few in classes.items() for _ in few]
        source = FileImages(paths, np.zeros(len(paths), np.int64))
        return cls(labels, [str(path) for path in paths], paths.__getitem__, source.content)

    @classmethod
    def of_stream(cls, stream: TaskStream, least: int) -> "TestImages":
        """Take the test images of a stream; of a JPEG ``least`` pixels of the shorter side do."""
        numbers = [int(index) for task in stream.tasks for index in task.test]
        source = stream.test_source
        return cls(
            [stream.class_names[label] for task in stream.tasks for label in task.test_labels],
            [source.name(number) for number in numbers],
            lambda index: source.image(numbers[index], least),
            lambda index: source.content(numbers[index]),
        )

    def only(self, known: Sequence[str]) -> "TestImages":
        """Return the images of known classes."""
        kept = [number for number, label in enumerate(self.labels) if label in known]
        return TestImages(
            [self.labels[number] for number in kept],
            [self.names[number] for number in kept],
            lambda index: self.image(kept[index]),
            lambda index: self.content(kept[index]),
        )


@dataclass(frozen=True)
class ClassAccuracy:
    """How many images a class has, and how many of them were taken for it."""

    label: str
    images: int
    right: int


@dataclass(frozen=True)
class Confusion:
    """How many images of a class were taken for another."""

    label: str
    taken_for: str
    images: int


@dataclass(frozen=True)
class Accuracy:
    """What a bundle with a state is right about.

    ``state`` names the state's file, None for the bundle's own. ``left_out`` are the data's classes
    that are not known. ``images_per_second`` counts decoding and classifying, None where all had
    been classified before. ``peak_rss_mb`` is the process's peak, in MB of 10^6 bytes.
    """

    data: str
    state: str | None
    classes: tuple[ClassAccuracy, ...]
    left_out: tuple[str, ...]
    confusions: tuple[Confusion, ...]
    known_classes: int
    images_per_second: float | None
    peak_rss_mb: float

    @property
    def images(self) -> int:
        """The number of images."""
        return sum(one.images for one in self.classes)

    @property
    def share(self) -> float:
        """The share of all images that were taken for what they are."""
        return sum(one.right for one in self.classes) / self.images


def measure_accuracy(
    learner: OnDeviceLearner,
    test: TestImages,
    data: str,
    state: Path | None,
    identity: dict[str, Any],
    path: Path,
    progress: Progress,
) -> Accuracy:
    """Classify images, keep each answer in a file, and return what was right.

    Args:
        learner: the bundle with the state.
        test: the images; those of classes that are not known are left out.
        data: what the images are called.
        state: the state's file, None for the bundle's own.
        identity: what the answers depend on beside the images, for the file's first line; there
            the images' content joins it.
        path: the file of answers, a JSON object a line; answers that it has already stand.
        progress: is told of each image, those answered before at once.

    Raises:
        InputError: no image is of a known class, an image cannot be used, the file is of another
            test, or it cannot be written.
    """
    names = learner.class_names
    known = test.only(names)
    left_out = tuple(dict.fromkeys(label for label in test.labels if label not in names))
    if not known.labels:
        raise InputError(
            f"{data} has no image of a known class: it has {listed(left_out)}, and "
            f"{listed(names)} are known; classes are told by their names"
        )
    head = {**identity, "images": _digest(known)}
    try:
        with path.open("a+b") as file:
            answers = _read_answers(path, file, head)
            progress(len(answers))
            speed = _classify_the_rest(learner, known, answers, file, progress)
    except OSError as error:
        raise InputError(
            f"cannot write {path}: {error.strerror or error}; make room or name another folder, "
            "and run the command again: what was classified stands"
        ) from error
    pairs = Counter((answer["label"], answer["taken_for"]) for answer in answers)
    images = Counter(known.labels)
    return Accuracy(
        data=data,
        state=None if state is None else state.name,
        classes=tuple(
            ClassAccuracy(label, count, pairs[label, label]) for label, count in images.items()
        ),
        left_out=left_out,
        confusions=tuple(
            Confusion(label, taken_for, count)
            for (label, taken_for), count in pairs.most_common()
            if label != taken_for
        )[:_CONFUSIONS],
        known_classes=len(names),
        images_per_second=speed,
        peak_rss_mb=peak_rss_mb(),
    )


def _classify_the_rest(
    learner: OnDeviceLearner,
    test: TestImages,
    answers: list[dict[str, Any]],
    file: BinaryIO,
    progress: Progress,
) -> float | None:
    """Append the missing answers to list and file; return images a second, None where none was."""
    seconds, answered = 0.0, len(answers)
    for start in range(answered, len(test.labels), INFERENCE_BATCH):
        numbers = range(start, min(start + INFERENCE_BATCH, len(test.labels)))
        begin = time.perf_counter()
        found = learner.predict([test.image(number) for number in numbers])
        seconds += time.perf_counter() - begin
        batch = [
            {
                "image": test.names[number],
                "label": test.labels[number],
                "taken_for": one.label,
                "probability": round(one.probability, 4),
            }
            for number, one in zip(numbers, found, strict=True)
        ]
        _append(file, batch)
        answers += batch
        progress(len(numbers))
    return (len(answers) - answered) / seconds if seconds else None


def _digest(test: TestImages) -> str:
    digest = hashlib.sha256()
    for number, label in enumerate(test.labels):
        digest.update(f"{label}\0".encode())
        digest.update(hashlib.sha256(test.content(number)).digest())
    return digest.hexdigest()[:16]


def _read_answers(path: Path, file: BinaryIO, head: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the answers of an interrupted test, and cut off a line that was not finished."""
    file.seek(0)
    whole, _, torn = file.read().rpartition(b"\n")
    try:
        lines = [json.loads(line) for line in whole.splitlines()]
    except ValueError as error:
        raise InputError(f"{path} is damaged ({error}); delete it to begin anew") from error
    if torn:
        file.truncate(len(whole) + 1 if whole else 0)
    if not lines:
        _append(file, [head])
        return []
    if lines[0] != head:
        differ = sorted(
            name for name in lines[0].keys() | head.keys() if lines[0].get(name) != head.get(name)
        )
        raise InputError(
            f"{path} is of another test, which differs in {', '.join(differ)}; name another folder "
            "with --out, or delete the file to begin anew"
        )
    return lines[1:]


def _append(file: BinaryIO, rows: Sequence[dict[str, Any]]) -> None:
    file.write("".join(json.dumps(row, allow_nan=False) + "\n" for row in rows).encode())
    file.flush()
    os.fsync(file.fileno())
