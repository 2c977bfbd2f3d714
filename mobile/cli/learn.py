"""``cbpnet-mobile learn``: new classes, or more images of known ones, on the device."""

import json
import shlex
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import click
from tqdm import tqdm

from cbpnet.data.folder import read_class_folders
from cbpnet.host.atomic import make_folder
from cbpnet.host.errors import InputError
from cbpnet.host.memory import peak_rss_mb
from mobile.cli.bundle_options import (
    batch_size_option,
    bundle_argument,
    epochs_option,
    open_learner,
    threads_option,
)
from mobile.cli.live import camera_option, frames_option, recognise
from mobile.device.images import ImageLike
from mobile.device.runtime import Lesson, OnDeviceLearner
from mobile.measure.learning import Learning
from mobile.measure.results import describe_bundle, take, write_result
from mobile.measure.sampling import Monitor
from mobile.raspberry_pi.camera import Capture, open_camera

__all__ = ["learn"]

_NAMED = 5  # classes of a lesson
_INTERVAL = 1.0  # seconds between two looks at the board

_Classes = Mapping[str, Sequence[ImageLike]]


@click.command(
    epilog="""\b
Examples:
  cbpnet-mobile learn pets.pte --images photos --out pets.safetensors
  cbpnet-mobile learn pets.pte --images more_photos --state pets.safetensors
  cbpnet-mobile learn pets.pte --images more_photos --state pets.safetensors --task 2
  cbpnet-mobile learn pets.pte --camera picamera2 --label rex --label tom --live
"""
)
@bundle_argument
@click.option(
    "--images",
    type=click.Path(path_type=Path),
    help="Folder with one folder of images for each class, which gives the class its name.",
)
@camera_option
@click.option("--label", "labels", multiple=True, help="Class before the camera; may be repeated.")
@click.option(
    "--shots",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    help="Pictures of each class from the camera.",
)
@click.option(
    "--every",
    type=click.FloatRange(min=0),
    default=0.5,
    show_default=True,
    help="Seconds between two pictures.",
)
@click.option("--live", is_flag=True, help="Then recognise what the camera sees.")
@frames_option
@click.option(
    "--state",
    type=click.Path(path_type=Path),
    help="State to go on from; default: the one in the bundle.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="State file to write; default: --state, else the bundle's name with .safetensors.",
)
@click.option(
    "--task",
    type=click.IntRange(min=1),
    help="Known task, counted from 1, that new classes join; default: they begin a new one.",
)
@epochs_option
@batch_size_option
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    help="Of the order; default: the number of lessons so far.",
)
@click.option("--strict", is_flag=True, help="Fail on an unreadable image; default: skip it.")
@click.option(
    "--result",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File for times, memory and the board's figures, for `report`.",
)
@threads_option
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def learn(
    bundle: Path,
    images: Path | None,
    camera: str | None,
    labels: tuple[str, ...],
    shots: int,
    every: float,
    live: bool,
    frames: int | None,
    state: Path | None,
    out: Path | None,
    task: int | None,
    epochs: int,
    batch_size: int,
    seed: int | None,
    strict: bool,
    result: Path | None,
    threads: int | None,
    as_json: bool,
) -> None:
    """Learn a folder of class folders on the device, and write the state.

    Known classes, told by their names, are learnt in their own task, and new ones in a new task.
    The state file is written at the end and in one step: an interrupted run leaves it as it was.
    With --camera the images are pictures of what it sees, one class after another.
    """
    _check_source(images, camera, labels, live)
    out = out or state or bundle.with_suffix(".safetensors")
    learner = open_learner(bundle, state, threads)
    for folder in {path.parent for path in (out, result) if path is not None}:
        make_folder(folder)
    if out != state and out.exists():
        raise InputError(
            f"{out} exists and is not the state to go on from; pass --state {out} to go on from "
            "it, or name another file with --out"
        )
    with ExitStack() as stack:
        capture = stack.enter_context(open_camera(camera)) if camera is not None else None
        classes: _Classes = {}
        if images is not None:
            classes = _read(images, strict)
        elif capture is not None:
            classes = _photograph(capture, list(dict.fromkeys(labels)), shots, every)
        count = sum(map(len, classes.values()))
        monitor = stack.enter_context(Monitor(_INTERVAL)) if result is not None else None
        start = time.monotonic()
        with tqdm(total=count * (1 + epochs), unit="img", desc="learning", mininterval=1.0) as bar:
            lessons = learner.learn(classes, epochs, batch_size, seed, task, bar.update)
        seconds = time.monotonic() - start
        learner.save(out)
        if result is not None and monitor is not None:
            figures = Learning(
                source=camera or str(images),
                new=tuple(label for lesson in lessons for label in lesson.new),
                known=tuple(label for lesson in lessons for label in lesson.known),
                images=count,
                epochs=epochs,
                seconds=seconds,
                peak_rss_mb=peak_rss_mb(),
                samples=tuple(replace(one, seconds=one.seconds - start) for one in monitor.samples),
            )
            write_result(result, take(describe_bundle(bundle, learner.manifest), figures))
        _tell(bundle, out, learner, lessons, seconds, as_json)
        if live and capture is not None:
            recognise(learner, capture, frames)


def _check_source(
    images: Path | None, camera: str | None, labels: Sequence[str], live: bool
) -> None:
    """Raise click's error for wrong usage unless there is one source with what it needs."""
    if (images is None) == (camera is None):
        raise click.UsageError("name one source of images: --images FOLDER or --camera CAMERA")
    if camera is not None and not labels:
        raise click.UsageError("--camera needs --label: what is before it")
    if camera is None and (labels or live):
        raise click.UsageError("--label and --live are for --camera; a folder names its classes")


def _read(images: Path, strict: bool) -> _Classes:
    classes, notes = read_class_folders(
        images, strict=strict, progress=partial(tqdm, desc="reading", unit="img", mininterval=1.0)
    )
    for note in notes:
        click.echo(f"note: {note}", err=True)
    return classes


def _photograph(capture: Capture, labels: Sequence[str], shots: int, every: float) -> _Classes:
    """Take pictures of one class after another; who is at the keyboard says when."""
    classes: dict[str, list[ImageLike]] = {}
    for label in labels:
        click.pause(f"show {label} to the camera, and press a key")
        classes[label] = []
        for _ in tqdm(range(shots), unit="img", desc=label, mininterval=1.0):
            picture = capture()
            if picture is None:
                raise InputError(
                    f"the folder that stands in for a camera ends after {len(classes[label])} "
                    f"pictures of {label!r}; right would be {shots} for each label (--shots)"
                )
            classes[label].append(picture)
            time.sleep(every)
    return classes


def _tell(
    bundle: Path,
    out: Path,
    learner: OnDeviceLearner,
    lessons: Sequence[Lesson],
    seconds: float,
    as_json: bool,
) -> None:
    if as_json:
        outcome = {
            "state": str(out),
            "bytes": out.stat().st_size,
            "lessons": [asdict(lesson) for lesson in lessons],
            "classes": learner.class_names,
            "seconds": seconds,
            "peak_rss_mb": peak_rss_mb(),
        }
        click.echo(json.dumps(outcome, indent=2))
        return
    for lesson in lessons:
        click.echo(_sentence(lesson))
    manifest = learner.manifest
    click.echo(
        f"wrote {out}: {len(learner.class_names)} of {manifest.classes} classes, "
        f"{learner.known_tasks} of {manifest.tasks} tasks, {out.stat().st_size / 1e6:.2f} MB; "
        f"learning took {seconds:.1f} s"
    )
    command = ["cbpnet-mobile", "predict", str(bundle), "--state", str(out), "IMAGE..."]
    click.echo(f"classify with it: {shlex.join(command)}")


def _sentence(lesson: Lesson) -> str:
    parts = [
        f"{kind} {', '.join(names[:_NAMED])}"
        + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
        for kind, names in (("new:", lesson.new), ("known:", lesson.known))
        if names
    ]
    return f"task {lesson.task} ({'; '.join(parts)}): {lesson.images} images"
