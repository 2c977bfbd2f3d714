"""``cbpnet-mobile watch``: a board that learns unattended."""

import time
from pathlib import Path

import click

from cbpnet.host.atomic import make_folder
from mobile.cli.bundle_options import (
    batch_size_option,
    bundle_argument,
    epochs_option,
    open_learner,
    threads_option,
)
from mobile.device.inbox import Inbox
from mobile.device.runtime import Lesson

__all__ = ["watch"]


@click.command(
    epilog="""\b
Example:
  cbpnet-mobile watch pets.pte --inbox lessons --state pets.safetensors
"""
)
@bundle_argument
@click.option(
    "--inbox",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder for lessons: each is a folder of class folders, put into its folder `waiting`.",
)
@click.option(
    "--state",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="State file, written after each lesson; it is gone on from where it exists.",
)
@epochs_option
@batch_size_option
@click.option(
    "--every",
    type=click.FloatRange(min=0.1),
    default=5,
    show_default=True,
    help="Seconds between two looks into the inbox.",
)
@click.option("--once", is_flag=True, help="End when no lesson is waiting; default: wait for more.")
@threads_option
def watch(
    bundle: Path,
    inbox: Path,
    state: Path,
    epochs: int,
    batch_size: int,
    every: float,
    once: bool,
    threads: int | None,
) -> None:
    """Learn every lesson that is put into a folder, until it is stopped.

    Each lesson is learnt once, whenever the power goes. One that cannot be used goes to the inbox's
    folder `refused`, with the reason beside it.
    """
    make_folder(state.parent)
    learner = open_learner(bundle, state if state.exists() else None, threads)
    lessons = Inbox(inbox, learner, state)
    click.echo(f"watching {lessons.waiting}; {len(learner.class_names)} classes are known")
    while True:
        start = time.monotonic()
        found = lessons.learn_next(lambda images: learner.learn(images, epochs, batch_size))
        if found is not None:
            name, tasks = found
            seconds = time.monotonic() - start
            click.echo(
                f"{name}: {_sentence(tasks)} in {seconds:.1f} s; "
                f"{len(learner.class_names)} classes are known"
                if tasks
                else f"{name}: refused, see {lessons.refused / name}.txt"
            )
        elif once:
            return
        else:
            time.sleep(every)


def _sentence(tasks: list[Lesson]) -> str:
    images = sum(task.images for task in tasks)
    new = [label for task in tasks for label in task.new]
    return f"learnt {images} images" + (f", new: {', '.join(new)}" if new else "")
