"""Classifying and learning on a device, from a bundle: without timm, torchao or the exporter."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from cbpnet.host.errors import InputError
from cbpnet.method.capacity import grow
from cbpnet.run.state_file import load_state, save_state
from cbpnet.run.state_info import check_fit
from cbpnet.run.training import INFERENCE_BATCH, Progress, TaskImages, TrainingConfig, learn_task
from mobile.device.bundle import Manifest
from mobile.device.images import ImageLike, Images, as_list, normalised, prepare_images
from mobile.device.lessons import Knowledge, plan_lessons
from mobile.device.program import Program
from mobile.device.program_learner import ProgramLearner

__all__ = ["Lesson", "OnDeviceLearner", "Prediction"]


@dataclass(frozen=True)
class Prediction:
    """What an image was taken for.

    ``ranking`` has every known class with its probability, the best first; the probabilities are
    the softmax of the scores and not calibrated. ``task`` is the number, counted from 1, of the
    task whose prompt was used; None for a learner without prompts.
    """

    ranking: tuple[tuple[str, float], ...]
    task: int | None

    @property
    def label(self) -> str:
        """The best class."""
        return self.ranking[0][0]

    @property
    def probability(self) -> float:
        """The best class's probability."""
        return self.ranking[0][1]


@dataclass(frozen=True)
class Lesson:
    """What was learnt in one task: its number, counted from 1, and the labels of the images.

    ``new`` are the labels that were not known before, ``known`` the others.
    """

    task: int
    new: tuple[str, ...]
    known: tuple[str, ...]
    images: int


class OnDeviceLearner:
    """A bundle and what it has learnt so far.

    It may be used by several threads: `predict` answers with what was known when it was called,
    and of two calls of `learn` the second waits for the first. What is learnt lives in memory until
    `save` writes it. `mobile.device.program.set_threads` sets ExecuTorch's threads; torch's own do
    nothing useful here, and ``torch.set_num_threads(1)`` keeps them out of the way.

    Args:
        bundle: the `.pte` file.
        state: a state file to go on from; without it, the state in the bundle.

    Raises:
        InputError: the bundle or the state cannot be used; the message says why.
    """

    def __init__(self, bundle: str | Path, state: str | Path | None = None) -> None:
        program = Program(Path(bundle))
        self.manifest: Manifest = program.manifest
        self._learner = ProgramLearner(program)
        self._learning = threading.Lock()
        self._knowledge = Knowledge(
            self._learner.stored_state(), self.manifest.class_names, lessons=0
        )
        if state is not None:
            self.resume(state)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The labels of the known classes, by class number."""
        return self._knowledge.class_names

    @property
    def known_tasks(self) -> int:
        """The number of tasks that have been begun."""
        return self._knowledge.known_tasks

    @property
    def lessons(self) -> int:
        """The number of lessons since the server's state, or since nothing was known."""
        return self._knowledge.lessons

    def predict(self, images: Images, progress: Progress = lambda images: None) -> list[Prediction]:
        """Return what each image is taken for.

        Args:
            images: one image or several, as `mobile.device.images.prepare_images` takes them.
            progress: is told the number of images that are done.

        Raises:
            InputError: no class is known, or an image cannot be used.
        """
        knowledge = self._knowledge
        if not knowledge.class_names:
            raise InputError("no class is known yet; learn some first, or name a state file")
        predictions: list[Prediction] = []
        for part in self._batches(as_list(images)):
            batch = self._normalised(part)
            query = self._learner.query(batch)
            scores, task = self._learner.predict(knowledge.state, batch, query)
            predictions += _rank(scores, task, knowledge.class_names)
            progress(len(batch))
        return predictions

    def learn(
        self,
        images: Mapping[str, Images],
        epochs: int = 5,
        batch_size: int = 10,
        seed: int | None = None,
        task: int | None = None,
        progress: Progress = lambda images: None,
    ) -> list[Lesson]:
        """Learn from images by label, and return the lessons, one for each task.

        Known classes are learnt in their own task, task after task; new ones begin a task of their
        own, the last, unless ``task`` names a known one that they join. All or nothing: after a
        failure or an interruption nothing has been learnt.

        Args:
            images: for each label its images, as `predict` takes them.
            epochs: passes over the images.
            batch_size: images of a step.
            seed: of the images' order and of fresh units; by default the number of lessons so far,
                so that no two lessons share random numbers.
            task: the number, counted from 1, of the known task that new classes join.
            progress: is told of each image once for its query and once in each epoch.

        Raises:
            InputError: an image cannot be used, a label has no images or differs from another one
                in case or Unicode form only, or there is no room for its class or task.
        """
        training = TrainingConfig(epochs, batch_size, batch_size)
        given = {label: as_list(few) for label, few in images.items()}
        for label, few in given.items():
            if not few:
                raise InputError(f"class {label!r} has no images; right would be one or more")
        with self._learning:
            before = self._knowledge
            plan = plan_lessons(before, list(given), task)
            names = before.class_names
            names += tuple(label for label in given if label not in names)
            state = before.state
            for number, labels in plan.items():
                shown = self._look_at(
                    {names.index(label): given[label] for label in labels}, progress
                )
                # What finds queries is not needed while learning, nor the other way round; to load
                # a method again takes about as long as a step.
                self._learner.release()
                state = learn_task(
                    self._learner,
                    state,
                    number,
                    shown,
                    self.manifest.preprocessing,
                    training,
                    before.lessons if seed is None else seed,
                    progress,
                )
                self._learner.release()
            self._knowledge = Knowledge(state, names, before.lessons + 1)
        return [
            Lesson(
                task=number + 1,
                new=tuple(label for label in labels if label not in before.class_names),
                known=tuple(label for label in labels if label in before.class_names),
                images=sum(len(given[label]) for label in labels),
            )
            for number, labels in plan.items()
        ]

    def save(self, path: str | Path) -> None:
        """Write what has been learnt; an older file at ``path`` is replaced whole or not at all.

        Raises:
            InputError: the file cannot be written; an older one is as it was.
        """
        known = self._knowledge
        info = self.manifest.state_info(known.class_names, {"lessons": known.lessons})
        save_state(Path(path), known.state, info)

    def resume(self, path: str | Path) -> None:
        """Go on from a state file, which another host may have written with less capacity.

        Raises:
            InputError: the file is no intact state, or one of another backbone, other settings or
                more capacity.
        """
        state, info = load_state(Path(path))
        manifest = self.manifest
        expected = manifest.state_info(info.class_names, info.progress)
        try:
            check_fit(info, replace(expected, classes=info.classes, tasks=info.tasks))
            state = grow(state, info.config, info.dim, manifest.classes, manifest.tasks)
        except InputError as error:
            raise InputError(f"{path} does not fit this bundle: {error}") from error
        known = int((state["classes.task"] >= 0).sum())
        if known != len(info.class_names):
            raise InputError(
                f"{path} knows {known} classes and names {len(info.class_names)} of them; "
                "use a state that `cbpnet-mobile` wrote"
            )
        with self._learning:
            self._knowledge = Knowledge(state, info.class_names, info.progress.get("lessons", 0))

    def _look_at(self, images: Mapping[int, Sequence[ImageLike]], progress: Progress) -> TaskImages:
        """Return images by class number, each decoded once, with their query features."""
        everything = [image for few in images.values() for image in few]
        pixels, queries = [], []
        for part in self._batches(everything):
            pixels.append(part)
            queries.append(self._learner.query(self._normalised(part)))
            progress(len(part))
        if any(part.dtype != torch.uint8 for part in pixels):
            pixels = [self._normalised(part) for part in pixels]
        counts = torch.tensor([len(few) for few in images.values()])
        labels = torch.tensor(list(images)).repeat_interleave(counts)
        return TaskImages(torch.cat(pixels), labels, torch.cat(queries))

    def _batches(self, images: Sequence[ImageLike]) -> Iterator[Tensor]:
        for start in range(0, len(images), INFERENCE_BATCH):
            few = images[start : start + INFERENCE_BATCH]
            yield prepare_images(few, self.manifest.preprocessing, first=start + 1)

    def _normalised(self, pixels: Tensor) -> Tensor:
        return normalised(pixels, self.manifest.preprocessing)


def _rank(scores: Tensor, task: Tensor, names: Sequence[str]) -> list[Prediction]:
    """Return the predictions of scores [B, C] and one-hot tasks [B, T]."""
    probabilities, order = scores[:, : len(names)].softmax(dim=1).sort(dim=1, descending=True)
    return [
        Prediction(
            tuple((names[number], value) for number, value in zip(row, values, strict=True)),
            chosen.index(1) + 1 if 1 in chosen else None,
        )
        for row, values, chosen in zip(
            order.tolist(), probabilities.tolist(), task.tolist(), strict=True
        )
    ]
