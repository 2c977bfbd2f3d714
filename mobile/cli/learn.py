"""``cbpnet-mobile learn``: new classes, or more images of known ones, on the device."""

import json
import shlex
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path

import click
from tqdm import tqdm

from cbpnet.atomic import make_folder
from cbpnet.data.folder import read_class_folders
from cbpnet.errors import InputError
from mobile.cli.bundle_options import bundle_argument, open_learner, threads_option
from mobile.runtime import Lesson

__all__ = ["learn"]

_NAMED = 5  # classes of a lesson


@click.command(
    epilog="""\b
Examples:
  cbpnet-mobile learn pets.pte --images photos --out pets.safetensors
  cbpnet-mobile learn pets.pte --images more_photos --state pets.safetensors
  cbpnet-mobile learn pets.pte --images more_photos --state pets.safetensors --task 2
"""
)
@bundle_argument
@click.option(
    "--images",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder with one folder of images for each class, which gives the class its name.",
)
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
@click.option(
    "--epochs",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    help="Passes over the images.",
)
@click.option(
    "--batch-size", type=click.IntRange(min=1), default=10, show_default=True, help="Per step."
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    help="Of the order; default: the number of lessons so far.",
)
@click.option("--strict", is_flag=True, help="Fail on an unreadable image; default: skip it.")
@threads_option
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def learn(
    bundle: Path,
    images: Path,
    state: Path | None,
    out: Path | None,
    task: int | None,
    epochs: int,
    batch_size: int,
    seed: int | None,
    strict: bool,
    threads: int | None,
    as_json: bool,
) -> None:
    """Learn a folder of class folders on the device, and write the state.

    Known classes, told by their names, are learnt in their own task, and new ones in a new task.
    The state file is written at the end and in one step: an interrupted run leaves it as it was.
    """
    out = out or state or bundle.with_suffix(".safetensors")
    learner = open_learner(bundle, state, threads)
    make_folder(out.parent)
    if out != state and out.exists():
        raise InputError(
            f"{out} exists and is not the state to go on from; pass --state {out} to go on from "
            "it, or name another file with --out"
        )
    classes, notes = read_class_folders(
        images, strict=strict, progress=partial(tqdm, desc="reading", unit="img", mininterval=1.0)
    )
    for note in notes:
        click.echo(f"note: {note}", err=True)
    count = sum(map(len, classes.values()))
    start = time.perf_counter()
    with tqdm(total=count * (1 + epochs), unit="img", desc="learning", mininterval=1.0) as bar:
        lessons = learner.learn(classes, epochs, batch_size, seed, task, bar.update)
    seconds = time.perf_counter() - start
    learner.save(out)
    if as_json:
        outcome = {
            "state": str(out),
            "bytes": out.stat().st_size,
            "lessons": [asdict(lesson) for lesson in lessons],
            "classes": learner.class_names,
            "seconds": seconds,
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
