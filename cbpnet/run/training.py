"""The host's side of learning: what feeds a learner's pure functions with batches.

A task is learnt in three steps: its images' query features are computed once, the readout and the
class means take each image once, and then prompts, block and head are trained for some epochs.
Every random number of a task comes from the run's seed and the task's number alone, so that a run
that is interrupted and resumed ends in the same state as one that is not.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np

from cbpnet.data.images import ImageSource
from cbpnet.data.pixels import load_batch, normalise
from cbpnet.data.preprocessing import Preprocessing
from cbpnet.data.sampling import Indices
from cbpnet.host.arrays import Array
from cbpnet.host.errors import InputError
from cbpnet.host.random_streams import RandomStream
from cbpnet.method.config import LearnerConfig
from cbpnet.method.learner_interface import LearnerInterface, StepInterface
from cbpnet.method.state import HostState

__all__ = [
    "FORWARDS_OF_A_STEP",
    "IMAGES_AT_ONCE",
    "INFERENCE_BATCH",
    "LessonImages",
    "Progress",
    "ShownImages",
    "TaskImages",
    "TrainingConfig",
    "begin_task",
    "check_labels",
    "compute_queries",
    "initial_state",
    "learn_task",
    "members_of",
    "portions",
    "train",
]

Progress = Callable[[int], object]

INFERENCE_BATCH = 32  # queries or features
IMAGES_AT_ONCE = 8  # of 224 pixels, normalised: 5 MB, which a small board has to spare
FORWARDS_OF_A_STEP = 3  # an image: one forward, and two of its size backward


@dataclass(frozen=True)
class TrainingConfig:
    """How long and in what portions a task is trained.

    A step takes ``batch_size`` images, summed over micro-batches of at most ``micro_batch``, which
    bounds the memory and changes nothing else. With ``flip`` half of the images are mirrored anew
    in each epoch. The learning rates fall by a cosine to the share ``final_rate`` of theirs.
    """

    epochs: int = 5
    batch_size: int = 10
    micro_batch: int = 10
    flip: bool = False
    final_rate: float = 1.0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "micro_batch"):
            value = getattr(self, name)
            if value < 1:
                raise InputError(f"{name} is {value}; it must be at least 1")

    @classmethod
    def of(
        cls,
        config: LearnerConfig,
        epochs: int | None = None,
        batch_size: int = 10,
        flip: bool = False,
    ) -> Self:
        """Return how a learner is trained: its own epochs, if none are named, and its own rates.

        Gradients are computed for a whole batch at once.
        """
        own = config.adaptation
        epochs = own.epochs if epochs is None else epochs
        return cls(epochs, batch_size, batch_size, flip, own.final_rate)

    def steps(self, images: int) -> int:
        """Return the number of steps that a task with this many images takes."""
        return self.epochs * -(-images // self.batch_size)

    def rate(self, done: float) -> float:
        """Return what multiplies the learning rates where a share ``done`` of the steps is made."""
        return self.final_rate + (1 - self.final_rate) * (1 + math.cos(math.pi * done)) / 2


class ShownImages(Protocol):
    """Images that a learner is shown, and their ``labels`` [N]."""

    @property
    def labels(self) -> Array: ...

    def batch(self, rows: Array, preprocessing: Preprocessing) -> Array:
        """Return some images normalised, fp32 [B, 3, S, S]."""


@dataclass(frozen=True)
class LessonImages:
    """Images and their ``labels`` [N].

    ``pixels`` are uint8 [N, S, S, 3], or fp32 [N, 3, S, S] and normalised already.
    """

    pixels: Array
    labels: Array

    def batch(
        self, rows: Array, preprocessing: Preprocessing, mirrored: Array | None = None
    ) -> Array:
        """Return some images normalised, fp32 [B, 3, S, S], mirrored where that is marked."""
        pixels, raw = self.pixels[rows], self.pixels.dtype == np.uint8  # a copy: rows are numbers
        if mirrored is not None:
            width = 2 if raw else 3
            pixels[mirrored] = np.flip(pixels[mirrored], width)
        return normalise(pixels, preprocessing.mean, preprocessing.std) if raw else pixels


@dataclass(frozen=True)
class TaskImages(LessonImages):
    """A task's images, with their ``query`` [N, D]."""

    query: Array


def initial_state(learner: LearnerInterface, seed: int) -> HostState:
    """Return the state in which a run with this seed starts."""
    return learner.initial_state(RandomStream(seed, 0))


def compute_queries(
    learner: LearnerInterface,
    source: ImageSource,
    indices: Indices,
    preprocessing: Preprocessing,
    progress: Progress = lambda images: None,
) -> Array:
    """Return the query features [N, D] of some images of a source, a batch at a time."""
    found = []
    for batch in portions(indices, IMAGES_AT_ONCE):
        pixels = load_batch(source, batch.tolist(), preprocessing)
        found.append(learner.query(normalise(pixels, preprocessing.mean, preprocessing.std)))
        progress(len(batch))
    return np.concatenate(found)


def begin_task(
    learner: LearnerInterface, state: HostState, task: int, query: Array, labels: Array
) -> HostState:
    """Return the state ready to learn task number ``task`` on images that it has observed.

    ``query`` [N, D] are the images' query features and ``labels`` [N] their classes, which the
    task gets where no other one has them.
    """
    for part, few in zip(portions(query), portions(labels), strict=True):
        state = learner.observe(state, part, few)
    number = np.full(1, task, np.float32)
    return learner.begin_task(state, number, members_of(learner.classes, labels))


def learn_task(
    learner: LearnerInterface,
    state: HostState,
    task: int,
    images: TaskImages,
    preprocessing: Preprocessing,
    config: TrainingConfig,
    seed: int,
    progress: Progress = lambda images: None,
) -> HostState:
    """Return the state after learning task number ``task``; ``progress`` counts trained images.

    Raises `InputError` where the task or a label is outside the learner's capacity.
    """
    if not 0 <= task < learner.tasks:
        raise InputError(f"task {task} is outside the learner's capacity of {learner.tasks} tasks")
    check_labels(learner.classes, images.labels)
    stream = RandomStream(seed, task + 1)
    state = begin_task(learner, state, task, images.query, images.labels)
    return train(learner, state, images, preprocessing, config, stream, progress)


def train(
    learner: StepInterface,
    state: HostState,
    images: TaskImages,
    preprocessing: Preprocessing,
    config: TrainingConfig,
    stream: RandomStream,
    progress: Progress = lambda images: None,
    units: RandomStream | None = None,
) -> HostState:
    """Return the state after all steps of the task that has been begun.

    ``stream`` draws order and mirrored images, ``units`` fresh units, by default the same one;
    ``progress`` counts trained images.
    """
    steps = config.steps(len(images.labels))
    for step, chosen in enumerate(_shuffled_batches(len(images.labels), config, stream)):
        rate = np.full(1, config.rate(step / steps), np.float32)
        sums = learner.zero_sums()
        mirrored = stream.uniform(len(chosen)) < 0.5 * config.flip
        for part, flipped in zip(
            portions(chosen, config.micro_batch),
            portions(mirrored, config.micro_batch),
            strict=True,
        ):
            batch = images.batch(part, preprocessing, flipped)
            sums = learner.gradients(state, batch, images.query[part], images.labels[part], sums)
        noise = (units or stream).uniform(*learner.noise_shape)
        state = learner.update(state, sums, noise, rate)
        progress(len(chosen))
    return state


def _shuffled_batches(images: int, config: TrainingConfig, stream: RandomStream) -> Iterator[Array]:
    for _ in range(config.epochs):
        yield from portions(stream.permutation(images), config.batch_size)


def portions(rows: Array, size: int = INFERENCE_BATCH) -> Iterator[Array]:
    """Yield rows [N, ...] in portions of so many, the last one smaller where it must be."""
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def members_of(classes: int, labels: Array) -> Array:
    """Return [C] with 1 for the classes that labels [N] name, and 0 for all others."""
    members = np.zeros(classes, np.float32)
    members[labels] = 1
    return members


def check_labels(classes: int, labels: Array) -> None:
    """Raise `InputError` where a label [N] is outside a capacity of ``classes``."""
    highest = int(labels.max())
    if highest >= classes:
        raise InputError(f"class {highest} is outside the learner's capacity of {classes} classes")
