"""Teaching a one-pass bundle: one lesson, of known classes and new ones together."""

import time
from collections.abc import Mapping, Sequence

from cbpnet.host.arrays import Array
from cbpnet.host.errors import InputError
from cbpnet.method.state import HostState
from cbpnet.run.lesson import Decision, learn_lesson
from cbpnet.run.training import TrainingConfig
from mobile.device.images import ImageLike, lesson_images
from mobile.device.lessons import Forecast, Knowledge, Lesson, new_labels
from mobile.device.one_pass_program import OnePassProgram
from mobile.device.program import Program
from mobile.device.teacher import Teaching

__all__ = ["OnePassTeacher"]

_SEED = 0  # the lesson's number joins it


class OnePassTeacher:
    """A `Teacher` of a one-pass bundle."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._learner = OnePassProgram(program)

    def stored_state(self) -> HostState:
        """Return the state in the bundle."""
        return self._learner.stored_state()

    def classify(self, state: HostState, images: Array) -> tuple[Array, list[int | None]]:
        """Return the probabilities [B, C] of normalised images, and None in the place of tasks."""
        _, probabilities, _ = self._learner.predict(state, self._learner.features(state, images))
        return probabilities, [None] * len(images)

    def teach(
        self, before: Knowledge, images: Mapping[str, Sequence[ImageLike]], how: Teaching
    ) -> tuple[Knowledge, list[Lesson]]:
        """Return what is known after learning images by label, and the one lesson."""
        if how.task is not None:
            raise InputError(
                f"task is {how.task} and this bundle has no tasks, its classes are learnt "
                "together; leave the task out"
            )
        new = new_labels(before, list(images))
        names = before.class_names + tuple(new)
        preprocessing = self._program.manifest.preprocessing
        shown = lesson_images(
            {names.index(label): few for label, few in images.items()}, preprocessing
        )
        kept = before.kept if how.keep is None else before.kept.limited(how.keep)
        filled = kept.with_lesson(shown)
        training = TrainingConfig.of(self._learner.config, how.epochs, how.batch_size)
        count = len(shown.labels)
        watch = _Watch(count, (training.epochs + 1) * count + 2 * kept.count, how)
        outcome = learn_lesson(
            self._learner,
            before.state,
            shown,
            preprocessing,
            training,
            _SEED if how.seed is None else how.seed,
            kept.images(),
            watch.progress,
            watch.decided,
            # To load a method again takes about as long as a step.
            between=self._program.release,
        )
        lesson = Lesson(
            task=None,
            new=tuple(new),
            known=tuple(label for label in images if label not in new),
            images=count,
            decision=outcome.decision,
        )
        return Knowledge(outcome.state, names, before.lessons + 1, filled), [lesson]


class _Watch:
    """Takes the time of the first look at a lesson's images, and forecasts the rest by it.

    ``looks`` are those of an adaptation.
    """

    def __init__(self, images: int, looks: int, how: Teaching) -> None:
        self._images, self._looks, self._how = images, looks, how
        self._looked, self._start, self._seconds = 0, time.monotonic(), 0.0

    def progress(self, images: int) -> None:
        self._looked += images
        if self._looked == self._images:
            self._seconds = time.monotonic() - self._start
        self._how.progress(images)

    def decided(self, decision: Decision) -> None:
        looks = self._looks if decision.adapts else 0
        seconds = decision.passes * self._seconds / self._images
        self._how.decided(Forecast(decision, self._images, looks, seconds))
