"""Teaching a one-pass bundle: one lesson, of known classes and new ones together."""

import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from cbpnet.host.arrays import Array
from cbpnet.host.errors import InputError
from cbpnet.method.state import HostState
from cbpnet.run.advice import Recall, advise_on_features, advise_on_pictures, recall
from cbpnet.run.fold import Folded, bounded, drift_to_keep, fold, remember
from cbpnet.run.journal import Journal, Taught
from cbpnet.run.lesson import Decision, LessonOutcome, learn_lesson, look
from cbpnet.run.remembered import as_counted, picture_keys
from cbpnet.run.training import ShownImages
from mobile.device.images import ImageLike, lesson_images
from mobile.device.lessons import Forecast, Knowledge, Lesson, new_labels
from mobile.device.one_pass_program import OnePassProgram
from mobile.device.program import Program
from mobile.device.teacher import Answers, Teaching

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

    def classify(self, state: HostState, images: Array) -> Answers:
        """Return what normalised images are taken for."""
        x = self._learner.features(state, images)
        _, probabilities, unknown = self._learner.predict(state, x)
        return Answers(probabilities, unknown.tolist(), [None] * len(images))

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
        by_class = {names.index(label): few for label, few in images.items()}
        shown = lesson_images(by_class, preprocessing, how.prepared)
        kept = before.kept if how.keep is None else before.kept.limited(how.keep)
        filled = kept.with_lesson(shown)
        training = how.training(self._program.manifest)
        count = len(shown.labels)
        journal = before.journal
        assert journal is not None  # of a one-pass bundle
        if how.journal is not None:
            journal = replace(journal, limit=how.journal)
        labels = [names[label] for label in shown.labels.tolist()]
        keys = picture_keys(shown.pixels)
        for advice in advise_on_pictures(labels, keys, journal, before.images):
            how.advise(advice)

        def looked(x: Array) -> None:
            known = before.state, before.class_names
            for advice in advise_on_features(self._learner, *known, x, labels):
                how.advise(advice)

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
            looked,
            remembered=remember(self._learner, journal) if journal.limit else None,
        )
        lesson = Lesson(
            task=None,
            new=tuple(new),
            known=tuple(label for label in images if label not in new),
            images=count,
            decision=outcome.decision,
            recall=tuple(recall(self._learner, outcome.state, names, outcome.x, shown.labels)),
        )
        counts = {label: len(few) for label, few in images.items()}
        taught = _taught(before, counts, keys, outcome, how)
        known = Folded(outcome.state, names)
        journal = self.bounded(journal.followed_by(taught), known)
        return Knowledge(outcome.state, names, before.lessons + 1, filled, journal), [lesson]

    @property
    def image_size(self) -> int:
        """The side S of the images that the bundle takes, in pixels."""
        return self._program.manifest.image_size

    def features(self, state: HostState, images: ShownImages) -> Array:
        """Return the features [N, F] of images, as they are counted."""
        return look(self._learner, self._program.manifest.preprocessing, state, images)

    def bounded(self, journal: Journal, known: Folded) -> Journal:
        """Return a journal within its limit, see `cbpnet.run.fold.bounded`."""
        return bounded(self._learner, journal, known)

    def recall(self, known: Knowledge) -> list[Recall]:
        """Return how the images of a journal are classified by what is known, each left out."""
        assert known.journal is not None  # of a one-pass bundle
        lessons = remember(self._learner, known.journal).lessons
        if not lessons:
            return []
        x = np.concatenate([one.x for one in lessons]).astype(np.float32)
        labels = np.concatenate([one.labels for one in lessons])
        return recall(self._learner, known.state, known.class_names, x, labels)

    def fold(self, journal: Journal) -> Folded:
        """Return what is known by a journal."""
        return fold(self._learner, journal)


def _taught(
    before: Knowledge,
    counts: Mapping[str, int],
    keys: npt.NDArray[np.uint64],
    outcome: LessonOutcome,
    how: Teaching,
) -> Taught:
    """Return what the journal keeps of a lesson of so many images a class, one after another."""
    images = list(counts.values())
    drift, kept = drift_to_keep(before.state, before.class_names, outcome.drift)
    return Taught(
        id=secrets.token_hex(8),
        time=int(time.time()),
        source=how.source,
        names=tuple(counts),
        counts=tuple(images),
        reason=outcome.decision.reason,
        accuracy=outcome.decision.accuracy,
        labels=np.repeat(np.arange(len(images), dtype=np.int32), images),
        pictures=keys,
        x=as_counted(outcome.x),
        adapted=outcome.adapted,
        drift=drift,
        kept=kept,
    )


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
