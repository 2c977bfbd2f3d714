"""Teaching a bundle of the paper's learner: task after task, each with its own classes."""

from collections.abc import Mapping, Sequence

import numpy as np

from cbpnet.host.arrays import Array
from cbpnet.host.errors import InputError
from cbpnet.method.state import HostState
from cbpnet.run.training import (
    IMAGES_AT_ONCE,
    TaskImages,
    learn_task,
    portions,
)
from mobile.device.images import ImageLike, lesson_images
from mobile.device.lessons import Knowledge, Lesson, plan_lessons
from mobile.device.program import Program
from mobile.device.program_learner import ProgramLearner
from mobile.device.teacher import Answers, Teaching

__all__ = ["TaskTeacher"]


class TaskTeacher:
    """A `Teacher` of a bundle that has tasks."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._learner = ProgramLearner(program)

    def stored_state(self) -> HostState:
        """Return the state in the bundle."""
        return self._learner.stored_state()

    def classify(self, state: HostState, images: Array) -> Answers:
        """Return what normalised images are taken for."""
        scores, chosen = self._learner.predict(state, images, self._learner.query(images))
        tasks = [row.index(1) + 1 if 1 in row else None for row in chosen.tolist()]
        return Answers(_softmax(scores), [None] * len(images), tasks)

    def teach(
        self, before: Knowledge, images: Mapping[str, Sequence[ImageLike]], how: Teaching
    ) -> tuple[Knowledge, list[Lesson]]:
        """Return what is known after learning images by label, and a lesson for each task."""
        if how.keep:
            raise InputError(
                f"keep is {how.keep} and this bundle, whose adaptation is cbpnet, learns without "
                "kept pictures; right would be to keep 0"
            )
        training = how.training(self._program.manifest)
        plan = plan_lessons(before, list(images), how.task)
        names = before.class_names
        names += tuple(label for label in images if label not in names)
        preprocessing = self._program.manifest.preprocessing
        state = before.state
        for number, labels in plan.items():
            shown = self._look({names.index(label): images[label] for label in labels}, how)
            state = learn_task(
                self._learner,
                state,
                number,
                shown,
                preprocessing,
                training,
                before.lessons if how.seed is None else how.seed,
                how.progress,
            )
        lessons = [
            Lesson(
                task=number + 1,
                new=tuple(label for label in labels if label not in before.class_names),
                known=tuple(label for label in labels if label in before.class_names),
                images=sum(len(images[label]) for label in labels),
            )
            for number, labels in plan.items()
        ]
        return Knowledge(state, names, before.lessons + 1), lessons

    def _look(self, images: Mapping[int, Sequence[ImageLike]], how: Teaching) -> TaskImages:
        """Return images by class number with their query features."""
        preprocessing = self._program.manifest.preprocessing
        shown = lesson_images(images, preprocessing, how.prepared)
        queries = []
        for rows in portions(np.arange(len(shown.labels)), IMAGES_AT_ONCE):
            queries.append(self._learner.query(shown.batch(rows, preprocessing)))
            how.progress(len(rows))
        return TaskImages(shown.pixels, shown.labels, np.concatenate(queries))


def _softmax(scores: Array) -> Array:
    """Return the probabilities [B, C] of scores, 0 where a score is -inf."""
    exponentials = np.exp(scores - scores.max(axis=1, keepdims=True))
    found: Array = exponentials / exponentials.sum(axis=1, keepdims=True)
    return found
