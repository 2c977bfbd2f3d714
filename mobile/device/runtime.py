"""Classifying and learning on a device, from a bundle: without timm, torchao or the exporter."""

import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from cbpnet.data.labels import tidy_label
from cbpnet.host.atomic import real_path
from cbpnet.host.errors import InputError
from cbpnet.run import corrections
from cbpnet.run.advice import Advice, Recall
from cbpnet.run.fold import purged
from cbpnet.run.journal import Event, Journal
from cbpnet.run.merging import Merged
from cbpnet.run.previous_state import Say, warn
from cbpnet.run.remembered import picture_keys
from cbpnet.run.training import IMAGES_AT_ONCE, Progress
from mobile.device.corrected import corrected
from mobile.device.images import Images, as_list, by_label, normalised, prepare_images
from mobile.device.kept_pictures import KeptPictures
from mobile.device.lessons import Forecast, Knowledge, Lesson, check_labels
from mobile.device.manifest import Manifest
from mobile.device.merged import Side, merge_knowledge
from mobile.device.one_pass_teacher import OnePassTeacher
from mobile.device.prediction import Prediction, rank
from mobile.device.program import Program, fit_threads
from mobile.device.saved import Saving, load_knowledge, read_saving, save_knowledge
from mobile.device.task_teacher import TaskTeacher
from mobile.device.teacher import Teacher, Teaching
from mobile.device.turn import Turn

__all__ = ["OnDeviceLearner"]


class OnDeviceLearner:
    """A bundle and what it has learnt so far.

    It may be used by several threads: `predict` answers with what was known when it was called,
    and of two calls of `learn` the second waits for the first. What is learnt lives in memory until
    `save` writes it; `mobile.device.state_lock.writing` keeps other programs from writing the file
    meanwhile. `mobile.device.program.set_threads` sets the runtime's threads. It can be pickled;
    unpickled, it opens the same bundle from its path.

    Args:
        bundle: the `.pte` file.
        state: a state file to go on from; without it, the state in the bundle.
        pictures: whether to go on with the pictures that are kept with the state, if there are any.
            To classify, none are needed.
        say: is told where a state file is damaged and the one before it is gone on from.

    Raises:
        InputError: the bundle or the state cannot be used; the message says why.
    """

    def __init__(
        self,
        bundle: str | Path,
        state: str | Path | None = None,
        pictures: bool = True,
        say: Say = warn,
    ) -> None:
        program = self._program = Program(Path(bundle), by_phase=True)
        self.manifest: Manifest = program.manifest
        one_pass = self.manifest.config.one_pass
        self._teacher: Teacher = OnePassTeacher(program) if one_pass else TaskTeacher(program)
        self._learning = Turn(threading.Lock)
        stored, names = self._teacher.stored_state(), self.manifest.class_names
        journal = Journal(stored, names) if one_pass else None
        self._knowledge = Knowledge(stored, names, lessons=0, journal=journal)
        self._savings: dict[Path, Saving] = {}  # of the files that were read or written
        self._inbox, self._say = "", say
        self._unknown_above: float | None = None
        if state is not None:
            self.resume(state, pictures)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The labels of the known classes, by class number."""
        return self._knowledge.class_names

    @property
    def unknown_above(self) -> float:
        """The unknown score above which an image is none of the known classes.

        Chosen from what is known, by leave-one-out, unless it was set; infinity if it cannot be.
        """
        if self._unknown_above is not None:
            return self._unknown_above
        threshold = self._knowledge.state.get("unknown.threshold")
        return math.inf if threshold is None else float(threshold[0])

    @unknown_above.setter
    def unknown_above(self, score: float | None) -> None:
        self._unknown_above = score

    @property
    def images(self) -> dict[str, int]:
        """How many images each known class was learnt from."""
        return self._knowledge.images

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
            predictions += rank(found, knowledge.class_names, self.unknown_above)
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
        advise: Callable[[Advice], object] = lambda advice: None,
        source: str = "",
        journal: int | None = None,
        prepared: Progress = lambda images: None,
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
            advise: is told what seems wrong with a one-pass bundle's lesson, before it is learnt.
            source: where the images come from, for the journal.
            journal: bytes of features that a one-pass bundle keeps of its lessons, so that they can
                be undone and corrected; 0 keeps none. Default: as before, 8 MB at first.
            prepared: is told of images that were decoded, before any goes through the trunk.

        Raises:
            InputError: an image cannot be used, a label has no images, is empty or cannot be shown,
                or differs from another one in case or Unicode form only, there is no room for its
                class or task, or an option is not for this kind of bundle.
        """
        given = by_label(images)
        for name, value in {"keep": keep, "journal": journal}.items():
            if value is not None and value < 0:
                raise InputError(f"{name} is {value}; it must be at least 0")
        asked = epochs, batch_size, seed, task, keep
        how = Teaching(*asked, progress, prepared, decided, advise, source, journal)
        with self._learning:
            fit_threads()
            self._knowledge, lessons = self._teacher.teach(self._knowledge, given, how)
            self._program.release()
        return lessons

    @property
    def journal(self) -> Journal | None:
        """What was taught and corrected, with what was undone; None where a bundle has tasks."""
        return self._knowledge.journal

    def recall(self) -> list[Recall]:
        """Return how the images in the journal are classified, each by what is known without it.

        Raises:
            InputError: the bundle has tasks.
        """
        with self._learning:
            return self._one_pass().recall(self._knowledge)

    def forget(self, label: str, for_good: bool = False) -> Event:
        """Forget a class, as if it had never been taught; raises as `corrections.forget`.

        With ``for_good`` its features leave the journal, and nothing so far can be undone.
        """

        def change(journal: Journal, known: Sequence[str]) -> Journal:
            without = corrections.forget(journal, known, label, _now())
            return purged(without) if for_good else without

        return self._correct(change)

    def rename(self, label: str, new: str) -> Event:
        """Give a class another name; raises as `corrections.rename`."""
        new = tidy_label(new)
        check_labels(self.class_names, [new], but=label)
        return self._correct(
            lambda journal, known: corrections.rename(journal, known, label, new, _now()),
            {new: (label,)},
        )

    def merge(self, label: str, into: str) -> Event:
        """Make all images of a class those of another one; raises as `corrections.merge`."""
        return self._correct(
            lambda journal, known: corrections.merge(journal, known, label, into, _now()),
            {into: (into, label)},
        )

    def relabel(self, images: Images, label: str) -> Event:
        """Make images that were taught those of a class, known or new.

        They are told by their pixels. Kept pictures of the classes that lose them are dropped.

        Raises:
            InputError: an image cannot be used, as in `predict`, or is in no lesson that the
                journal has; there is no room for a new class.
        """
        label = tidy_label(label)
        check_labels(self.class_names, [label])
        keys = picture_keys(prepare_images(as_list(images), self.manifest.preprocessing)).tolist()
        losing = set() if self.journal is None else corrections.classes_of(self.journal, keys)
        return self._correct(
            lambda journal, known: corrections.relabel(journal, keys, label, _now()),
            dict.fromkeys(losing, ()),
        )

    def undo(self) -> Event:
        """Take back the last lesson or correction, and return it.

        Raises:
            InputError: there is none, or its features are not in the journal any more.
        """
        return self._correct(lambda journal, known: journal.undone())

    def redo(self) -> Event:
        """Have what was undone last in force again, and return it.

        Raises:
            InputError: nothing was undone, or something was learnt or corrected since.
        """
        return self._correct(lambda journal, known: journal.redone())

    def save(self, path: str | Path, inbox: str = "") -> None:
        """Write what has been learnt; an older file at ``path`` is replaced whole or not at all.

        It stays as `previous_path`; kept pictures go to a file of their own (`kept_path`).

        Args:
            path: the state file.
            inbox: identifies the last lesson if it was taken from an inbox; default: as before.

        Raises:
            InputError: another program has written the file since this learner read or wrote it, or
                a file cannot be written; the older ones are as they were.
        """
        path = Path(path)
        there, ours = read_saving(path), self._savings.get(real_path(path))
        if ours is not None and there.generation != ours.generation and path.exists():
            raise InputError(
                f"{path} was written by another program meanwhile: it is of generation "
                f"{there.generation}, and what is to be saved goes on from {ours.generation}; "
                "go on from it anew, or save to another file"
            )
        saving = Saving(there.generation + 1, inbox or self._inbox)
        save_knowledge(path, self._knowledge, self.manifest, saving)
        self._savings[real_path(path)], self._inbox = saving, saving.inbox

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
            self._knowledge, saving = load_knowledge(path, self.manifest, pictures, self._say)
            self._savings[real_path(path)] = read_saving(path)
            self._inbox = saving.inbox

    def merge_states(
        self,
        states: Sequence[str | Path],
        names: Mapping[str, Mapping[str, str]] | None = None,
        recount: bool = False,
    ) -> Merged:
        """Know what several states know, whatever was known before, and return how they fit.

        Args:
            states: two files or more, of devices that went on from one state.
            names: by the file, as it is named in ``states``, other names for classes that its own
                lessons taught; a name that several states taught is one class.
            recount: whether a state whose features were adapted by other lessons than the first
                one's gives its kept pictures in their place.

        Raises:
            InputError: a state cannot be read, does not fit this bundle, or does not fit the
                others; or there is no room for all classes.
        """
        with self._learning:
            teacher = self._one_pass()
            sides = [
                Side(
                    str(path),
                    load_knowledge(Path(path), self.manifest, True, self._say)[0],
                    (names or {}).get(str(path), {}),
                )
                for path in states
            ]
            self._knowledge, merged = merge_knowledge(teacher, sides, recount)
            self._program.release()
        return merged

    def is_current(self, path: str | Path) -> bool:
        """Return whether a state file is still what this learner last read from it or wrote."""
        return self._savings.get(real_path(Path(path))) == read_saving(Path(path))

    def _one_pass(self) -> OnePassTeacher:
        if isinstance(self._teacher, OnePassTeacher):
            return self._teacher
        raise InputError(
            "this bundle has tasks, whose lessons are in its weights: they cannot be undone, "
            "corrected or merged; export one that learns in one pass (--adaptation auto)"
        )

    def _correct(
        self,
        change: Callable[[Journal, tuple[str, ...]], Journal],
        made_of: Mapping[str, Sequence[str]] | None = None,
    ) -> Event:
        """Change the journal, know what it says, and return the event that comes or goes.

        ``made_of`` is as in `mobile.device.corrected.corrected`.
        """
        with self._learning:
            before = self._knowledge
            teacher = self._one_pass()
            assert before.journal is not None  # of a one-pass bundle
            fit_threads()
            journal = change(before.journal, before.class_names)
            self._knowledge = corrected(teacher, before, journal, made_of or {})
            self._program.release()
        return journal.events[max(journal.head, before.journal.head) - 1]


def _now() -> int:
    return int(time.time())
