"""Classifying and learning on a device, from a bundle: without timm, torchao or the exporter."""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cbpnet.data.labels import tidy_label
from cbpnet.host.arrays import Array
from cbpnet.host.errors import InputError
from cbpnet.run.training import IMAGES_AT_ONCE, Progress
from mobile.device.bundle import Manifest
from mobile.device.images import ImageLike, Images, as_list, normalised, prepare_images
from mobile.device.kept_pictures import KeptPictures
from mobile.device.lessons import Forecast, Knowledge, Lesson
from mobile.device.one_pass_teacher import OnePassTeacher
from mobile.device.program import Program, fit_threads
from mobile.device.saved import Saving, load_knowledge, read_saving, save_knowledge
from mobile.device.task_teacher import TaskTeacher
from mobile.device.teacher import Teacher, Teaching

__all__ = ["OnDeviceLearner", "Prediction"]


@dataclass(frozen=True)
class Prediction:
    """What an image was taken for.

    ``ranking`` has every known class with its probability, the best first; the probabilities are
    not calibrated. ``task`` is the number, counted from 1, of the task whose prompt was used; None
    for a learner without prompts of tasks.
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


class OnDeviceLearner:
    """A bundle and what it has learnt so far.

    It may be used by several threads: `predict` answers with what was known when it was called,
    and of two calls of `learn` the second waits for the first. What is learnt lives in memory until
    `save` writes it; `mobile.device.state_lock.writing` keeps other programs from writing the file
    meanwhile. `mobile.device.program.set_threads` sets the runtime's threads.

    Args:
        bundle: the `.pte` file.
        state: a state file to go on from; without it, the state in the bundle.
        pictures: whether to go on with the pictures that are kept with the state, if there are any.
            To classify, none are needed.

    Raises:
        InputError: the bundle or the state cannot be used; the message says why.
    """

    def __init__(
        self, bundle: str | Path, state: str | Path | None = None, pictures: bool = True
    ) -> None:
        program = Program(Path(bundle))
        self.manifest: Manifest = program.manifest
        one_pass = self.manifest.config.one_pass
        self._teacher: Teacher = OnePassTeacher(program) if one_pass else TaskTeacher(program)
        self._learning = threading.Lock()
        self._savings: dict[Path, Saving] = {}  # of the files that were read or written
        self._inbox = ""
        self._knowledge = Knowledge(
            self._teacher.stored_state(), self.manifest.class_names, lessons=0
        )
        if state is not None:
            self.resume(state, pictures)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The labels of the known classes, by class number."""
        return self._knowledge.class_names

    @property
    def known_tasks(self) -> int:
        """The number of tasks that have been begun, or of lessons where there are no tasks."""
        return self._knowledge.known_tasks

    @property
    def lessons(self) -> int:
        """The number of lessons since the server's state, or since nothing was known."""
        return self._knowledge.lessons

    @property
    def inbox(self) -> str:
        """What identifies the last lesson that was taken from an inbox; empty if there was none."""
        return self._inbox

    @property
    def kept(self) -> KeptPictures:
        """The pictures of known classes that are kept."""
        return self._knowledge.kept

    @property
    def epochs(self) -> int:
        """Passes over the images where `learn` is not told how many."""
        return self.manifest.config.adaptation.epochs

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
        everything = as_list(images)
        for start in range(0, len(everything), IMAGES_AT_ONCE):
            few = everything[start : start + IMAGES_AT_ONCE]
            pixels = prepare_images(few, self.manifest.preprocessing, first=start + 1)
            found = self._teacher.classify(
                knowledge.state, normalised(pixels, self.manifest.preprocessing)
            )
            predictions += _rank(*found, knowledge.class_names)
            progress(len(few))
        return predictions

    def learn(
        self,
        images: Mapping[str, Images],
        epochs: int | None = None,
        batch_size: int = 10,
        seed: int | None = None,
        task: int | None = None,
        progress: Progress = lambda images: None,
        keep: int | None = None,
        decided: Callable[[Forecast], object] = lambda forecast: None,
    ) -> list[Lesson]:
        """Learn from images by label, and return the lessons.

        A one-pass bundle learns known and new classes in one lesson, and decides when it has looked
        at the images whether its features have to be adapted to them. A bundle with tasks has a
        lesson for each: known classes are learnt in their own task, task after task; new ones begin
        a task of their own, the last, unless ``task`` names a known one that they join.

        All or nothing: after a failure or an interruption nothing has been learnt.

        Args:
            images: for each label its images, as `predict` takes them. Spaces at a label's ends do
                not count, and its Unicode form is NFC.
            epochs: passes over the images, of a one-pass bundle those of an adaptation; by default
                the bundle's own number.
            batch_size: images of a step.
            seed: of the images' order and of fresh units; by default no two lessons share random
                numbers.
            task: the number, counted from 1, of the known task that new classes join.
            progress: is told of images that went through the trunk: of each once, and once in each
                epoch; of a one-pass bundle where it adapts, and then once more, with kept pictures.
            keep: pictures of each class that a one-pass bundle keeps, to measure on them what a
                later adaptation does to old classes; 0 drops them. Default: as before, 0 at first.
            decided: is told what is still to come when a one-pass bundle has decided.

        Raises:
            InputError: an image cannot be used, a label has no images, is empty or cannot be shown,
                or differs from another one in case or Unicode form only, there is no room for its
                class or task, or an option is not for this kind of bundle.
        """
        given: dict[str, list[ImageLike]] = {}
        for text, few in images.items():
            label = tidy_label(text)
            if label in given:
                raise InputError(f"label {text!r} stands there twice; right would be once")
            given[label] = as_list(few)
            if not given[label]:
                raise InputError(f"class {label!r} has no images; right would be one or more")
        if keep is not None and keep < 0:
            raise InputError(f"keep is {keep}; it must be at least 0")
        how = Teaching(epochs, batch_size, seed, task, keep, progress, decided)
        with self._learning:
            fit_threads()
            self._knowledge, lessons = self._teacher.teach(self._knowledge, given, how)
        return lessons

    def save(self, path: str | Path, inbox: str = "") -> None:
        """Write what has been learnt; an older file at ``path`` is replaced whole or not at all.

        Kept pictures go to a file of their own beside it, see `mobile.device.kept_file`.

        Args:
            path: the state file.
            inbox: identifies the last lesson if it was taken from an inbox; default: as before.

        Raises:
            InputError: another program has written the file since this learner read or wrote it, or
                a file cannot be written; the older ones are as they were.
        """
        path = Path(path)
        there, ours = read_saving(path), self._savings.get(_place(path))
        if ours is not None and there.generation != ours.generation and path.exists():
            raise InputError(
                f"{path} was written by another program meanwhile: it is of generation "
                f"{there.generation}, and what is to be saved goes on from {ours.generation}; "
                "go on from it anew, or save to another file"
            )
        saving = Saving(there.generation + 1, inbox or self._inbox)
        save_knowledge(path, self._knowledge, self.manifest, saving)
        self._savings[_place(path)], self._inbox = saving, saving.inbox

    def resume(self, path: str | Path, pictures: bool = True) -> None:
        """Go on from a state file, which another host may have written with less capacity.

        Args:
            path: the state file.
            pictures: whether to go on with the pictures that are kept with it, if there are any.

        Raises:
            InputError: the file is no intact state, or one of another backbone, other settings or
                more capacity; or its kept pictures are not beside it.
        """
        path = Path(path)
        with self._learning:
            saving = read_saving(path)
            self._knowledge = load_knowledge(path, self.manifest, pictures)
            self._savings[_place(path)] = saving
            self._inbox = saving.inbox

    def is_current(self, path: str | Path) -> bool:
        """Return whether a state file is still what this learner last read from it or wrote."""
        return self._savings.get(_place(Path(path))) == read_saving(Path(path))


def _place(path: Path) -> Path:
    return path.parent.resolve() / path.name


def _rank(
    probabilities: Array, tasks: Sequence[int | None], names: Sequence[str]
) -> list[Prediction]:
    """Return the predictions of probabilities [B, C], by the known classes' names."""
    known = probabilities[:, : len(names)]
    order = np.argsort(-known, axis=1, kind="stable")
    ranked = np.take_along_axis(known, order, axis=1)
    return [
        Prediction(
            tuple((names[number], value) for number, value in zip(row, values, strict=True)), task
        )
        for row, values, task in zip(order.tolist(), ranked.tolist(), tasks, strict=True)
    ]
