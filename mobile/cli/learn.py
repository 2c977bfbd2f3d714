"""``cbpnet-mobile learn``: new classes, or more images of known ones, on the device."""

import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from tqdm import tqdm

from cbpnet.data.folder import read_class_folders
from cbpnet.data.labels import tidy_label
from cbpnet.host.atomic import make_folder
from cbpnet.host.errors import InputError
from cbpnet.host.memory import peak_rss_mb
from cbpnet.host.progress import progress_bar, with_progress
from cbpnet.host.text import counted, printable
from mobile.cli.bundle_options import BundleOptions, TeachingOptions
from mobile.cli.camera_options import CameraOptions, recognise
from mobile.cli.lesson_report import (
    advice_sentence,
    forecast_sentence,
    lesson_json,
    lesson_sentence,
    recall_sentences,
)
from mobile.cli.option_groups import option, takes
from mobile.cli.options import print_json, print_notes
from mobile.cli.parameters import FilePath
from mobile.cli.state_options import FoundStateOptions, WriterOptions, default_state

if TYPE_CHECKING:
    from cbpnet.run.advice import Advice
    from mobile.device.images import ImageLike
    from mobile.device.lessons import Forecast, Lesson
    from mobile.device.runtime import OnDeviceLearner
    from mobile.measure.sampling import Sample
    from mobile.raspberry_pi.camera import Capture

    Classes = Mapping[str, Sequence[ImageLike]]

__all__ = ["learn"]

_INTERVAL = 1.0  # seconds between two looks at the board


@dataclass(frozen=True)
class SourceOptions(CameraOptions):
    """Where the images come from: a folder, or a camera and who is at the keyboard."""

    images: Path | None = option(
        "--images",
        type=FilePath(),
        help="Folder with one folder of images for each class, which gives the class its name.",
    )
    strict: bool = option(
        "--strict", is_flag=True, help="Fail on an unreadable image; default: skip it."
    )
    labels: tuple[str, ...] = option(
        "--label", multiple=True, help="Class before the camera; may be repeated."
    )
    shots: int = option(
        "--shots",
        type=click.IntRange(min=1),
        default=20,
        show_default=True,
        help="Pictures of each class from the camera.",
    )
    every: float = option(
        "--every",
        type=click.FloatRange(min=0),
        default=0.5,
        show_default=True,
        help="Seconds between two pictures.",
    )
    live: bool = option("--live", is_flag=True, help="Then recognise what the camera sees.")

    def check(self) -> None:
        """Raise click's error for wrong usage unless there is one source with what it needs."""
        if (self.images is None) == (self.camera is None):
            raise click.UsageError("name one source of images: --images FOLDER or --camera CAMERA")
        if self.camera is not None and not self.labels:
            raise click.UsageError("--camera needs --label: what is before it")
        if self.camera is None and (self.labels or self.live):
            raise click.UsageError(
                "--label and --live are for --camera; a folder names its classes"
            )

    @property
    def words(self) -> str:
        """Where the images come from, for the journal and for a report."""
        return self.camera or printable(str(self.images))

    def read(self, capture: "Capture | None") -> "Classes":
        """Return the images of each class."""
        if self.images is None:
            assert capture is not None
            labels = dict.fromkeys(map(tidy_label, self.labels))
            return {label: self._photograph(label, capture) for label in labels}
        reading = partial(with_progress, title="reading")
        classes, notes = read_class_folders(self.images, strict=self.strict, progress=reading)
        print_notes(notes)
        return classes

    def _photograph(self, label: str, capture: "Capture") -> "list[ImageLike]":
        """Take pictures of a class; who is at the keyboard says when."""
        click.pause(f"show {label} to the camera, and press a key")
        pictures: list[ImageLike] = []
        for _ in with_progress(range(self.shots), label, "picture"):
            picture = capture()
            if picture is None:
                raise InputError(
                    f"the folder that stands in for a camera ends after {len(pictures)} "
                    f"pictures of {label!r}; right would be {self.shots} for each label (--shots)"
                )
            pictures.append(picture)
            time.sleep(self.every)
        return pictures


@dataclass(frozen=True)
class StateOptions(FoundStateOptions):
    """The state that is gone on from, and what is written."""

    out: Path | None = option(
        "--out",
        type=FilePath(dir_okay=False),
        help="State file to write; default: --state, else the bundle's name with .safetensors.",
    )
    task: int | None = option(
        "--task",
        type=click.IntRange(min=1),
        help="Known task, counted from 1, that new classes join; default: they begin a new one.",
    )
    seed: int | None = option(
        "--seed",
        type=click.IntRange(min=0),
        help="Of the order; default: the number of lessons so far.",
    )
    result: Path | None = option(
        "--result",
        type=FilePath(dir_okay=False),
        help="File for times, memory and the board's figures, for `report`.",
    )

    def file(self, bundle: Path) -> Path:
        """Return the state file to write; its folder, and the result's, can be written to."""
        out = self.out or self.state or default_state(bundle)
        for folder in {path.parent for path in (out, self.result) if path is not None}:
            make_folder(folder)
        return out

    def start(self, bundle: Path, out: Path) -> Path | None:
        """Return the state to go on from, None for the one in the bundle.

        Raises `InputError` if the file to write is there and is not that state.
        """
        from cbpnet.run.previous_state import state_exists

        state = self.find(bundle)
        if out != state and state_exists(out):
            raise InputError(
                f"{out} exists and is not the state to go on from; pass --state {out} to go on "
                "from it, or name another file with --out"
            )
        return state


@dataclass(frozen=True)
class _Learnt:
    """What was learnt: the lessons, images and passes over them, and the board meanwhile."""

    lessons: Sequence["Lesson"]
    images: int
    passes: float
    seconds: float
    samples: tuple["Sample", ...]


@click.command(
    epilog="""\b
Examples:
  cbpnet-mobile learn pets.pte --images photos --out pets.safetensors
  cbpnet-mobile learn pets.pte --images more_photos --state pets.safetensors
  cbpnet-mobile learn pets.pte --images more_photos --state pets.safetensors --keep 5
  cbpnet-mobile learn cbpnet.pte --images more_photos --state cbpnet.safetensors --task 2
  cbpnet-mobile learn pets.pte --camera picamera2 --label rex --label tom --live
"""
)
@takes(
    bundle=BundleOptions,
    source=SourceOptions,
    lesson=TeachingOptions,
    files=StateOptions,
    writer=WriterOptions,
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON; with --live, an object a line.")
def learn(
    bundle: BundleOptions,
    source: SourceOptions,
    lesson: TeachingOptions,
    files: StateOptions,
    writer: WriterOptions,
    as_json: bool,
) -> None:
    """Learn a folder of class folders on the device, and write the state.

    Known classes are told by their names. Where the bundle has tasks, they are learnt in their own,
    and new ones in a new task; else all are one lesson, which looks at its images and says whether
    the features have to be adapted to them, and what that costs.
    The state file is written at the end and in one step: an interrupted run leaves it as it was.
    Run again, it goes on from what it wrote. Other programs that write the state wait meanwhile.
    With --camera the images are pictures of what it sees, one class after another.
    """
    source.check()
    out = files.file(bundle.path)
    with source.open() as capture:
        with writer.writing(out):
            learner = lesson.open(bundle, files.start(bundle.path, out))
            learnt = _learn(learner, source.read(capture), source.words, lesson, files)
            learner.save(out)
            if lesson.keep == 0:  # so that the state before has no pictures either
                learner.save(out)
        if files.result is not None:
            _write_result(files.result, bundle.path, learner, source, learnt)
        if as_json:
            indent = None if source.live else 2  # one a line where others follow
            print_json(_outcome(out, learner, learnt), indent)
        else:
            _print(bundle.path, out, learner, learnt)
        if source.live and capture is not None:
            recognise(learner, capture, source.frames, as_json)


def _learn(
    learner: "OnDeviceLearner",
    classes: "Classes",
    source: str,
    lesson: TeachingOptions,
    files: StateOptions,
) -> _Learnt:
    """Learn the images, and look at the board meanwhile where that is to be reported."""
    from mobile.measure.sampling import Monitor

    images = sum(map(len, classes.values()))
    epochs = learner.epochs if lesson.epochs is None else lesson.epochs
    one_pass = learner.manifest.config.one_pass
    with nullcontext() if files.result is None else Monitor(_INTERVAL) as monitor:
        start = time.monotonic()
        with _Bars(images if one_pass else images * (1 + epochs)) as bars:
            lessons = learner.learn(
                classes,
                lesson.epochs,
                lesson.batch_size,
                files.seed,
                files.task,
                bars.update,
                lesson.keep,
                bars.decided,
                bars.advise,
                source,
                lesson.journal,
            )
        seconds = time.monotonic() - start
    samples = () if monitor is None else monitor.samples
    since = tuple(replace(one, seconds=one.seconds - start) for one in samples)
    return _Learnt(lessons, images, bars.looks / images if one_pass else epochs, seconds, since)


class _Bars:
    """A progress bar, and another where a lesson decides to adapt: a context manager."""

    def __init__(self, looks: int) -> None:
        self.looks = looks
        self._bar = progress_bar("learning", looks)

    def __enter__(self) -> "_Bars":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def update(self, images: int) -> None:
        self._bar.update(images)

    def advise(self, advice: "Advice") -> None:
        tqdm.write(f"note: {advice_sentence(advice)}", file=sys.stderr)

    def decided(self, forecast: "Forecast") -> None:
        if forecast.looks:
            self._bar.close()
            click.echo(forecast_sentence(forecast), err=True)
            self.looks += forecast.looks
            self._bar = progress_bar("adapting", forecast.looks)


def _write_result(
    path: Path,
    bundle: Path,
    learner: "OnDeviceLearner",
    source: SourceOptions,
    learnt: _Learnt,
) -> None:
    from mobile.measure.learning import Learning
    from mobile.measure.results import describe_bundle, take, write_result

    figures = Learning(
        source=source.words,
        new=tuple(label for one in learnt.lessons for label in one.new),
        known=tuple(label for one in learnt.lessons for label in one.known),
        images=learnt.images,
        epochs=learnt.passes,
        seconds=learnt.seconds,
        peak_rss_mb=peak_rss_mb(),
        samples=learnt.samples,
    )
    write_result(path, take(describe_bundle(bundle, learner.manifest), figures))


def _outcome(out: Path, learner: "OnDeviceLearner", learnt: _Learnt) -> dict[str, Any]:
    kept = learner.kept
    return {
        "state": str(out),
        "bytes": out.stat().st_size,
        "kept": {"limit": kept.limit, "pictures": kept.count, "bytes": kept.bytes},
        "lessons": [lesson_json(lesson) for lesson in learnt.lessons],
        "classes": learner.class_names,
        "seconds": learnt.seconds,
        "peak_rss_mb": peak_rss_mb(),
    }


def _print(bundle: Path, out: Path, learner: "OnDeviceLearner", learnt: _Learnt) -> None:
    for lesson in learnt.lessons:
        click.echo(lesson_sentence(lesson))
        for line in recall_sentences(lesson):
            click.echo(f"  {line}")
    manifest, kept = learner.manifest, learner.kept
    tasks = "" if manifest.config.one_pass else f"{learner.known_tasks} of {manifest.tasks} tasks, "
    click.echo(
        f"wrote {out}: {len(learner.class_names)} of {manifest.classes} classes, {tasks}"
        f"{out.stat().st_size / 1e6:.2f} MB; learning took {learnt.seconds:.1f} s"
    )
    if kept.limit:
        click.echo(f"kept beside it: {counted(kept.count, 'picture')}, {kept.bytes / 1e6:.2f} MB")
    command = ["cbpnet-mobile", "predict", str(bundle), "--state", str(out), "IMAGE..."]
    click.echo(f"classify with it: {shlex.join(command)}")
