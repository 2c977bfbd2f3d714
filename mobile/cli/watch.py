"""``cbpnet-mobile watch``: a board that learns unattended."""

import importlib.resources
import time
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cbpnet.host.atomic import make_folder
from cbpnet.host.text import counted, listed, printable
from mobile.cli.bundle_options import BundleOptions, TeachingOptions
from mobile.cli.lesson_report import decision_words
from mobile.cli.option_groups import takes
from mobile.cli.options import print_note
from mobile.cli.parameters import FilePath
from mobile.raspberry_pi.service import notify

if TYPE_CHECKING:
    from mobile.device.lessons import Lesson
    from mobile.device.runtime import OnDeviceLearner

__all__ = ["watch"]


def _print_service(context: click.Context, _: click.Parameter, asked: bool) -> None:
    if asked and not context.resilient_parsing:
        unit = importlib.resources.files("mobile.raspberry_pi") / "cbpnet-watch.service"
        click.echo(unit.read_text(encoding="utf-8"), nl=False)
        context.exit()


@click.command(
    epilog="""\b
Examples:
  cbpnet-mobile watch pets.pte --inbox lessons --state pets.safetensors
  cbpnet-mobile watch --service > cbpnet-watch.service
"""
)
@takes(bundle=BundleOptions, lesson=TeachingOptions)
@click.option(
    "--inbox",
    type=FilePath(file_okay=False),
    required=True,
    help="Folder for lessons: each is a folder of class folders, put into its folder `waiting`.",
)
@click.option(
    "--state",
    type=FilePath(dir_okay=False),
    required=True,
    help="State file, written after each lesson; it is gone on from where it exists.",
)
@click.option(
    "--every",
    type=click.FloatRange(min=0.1),
    default=5,
    show_default=True,
    help="Seconds between two looks into the inbox.",
)
@click.option(
    "--patience",
    type=click.FloatRange(min=1, max=1e6),
    default=600,
    show_default=True,
    help="Seconds without a picture that is done with after which a lesson has hung, and the "
    "process is ended.",
)
@click.option(
    "--service",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_service,
    help="Print the unit file that has systemd run it, and exit.",
)
@click.option("--once", is_flag=True, help="End when no lesson is waiting; default: wait for more.")
def watch(
    bundle: BundleOptions,
    lesson: TeachingOptions,
    inbox: Path,
    state: Path,
    every: float,
    patience: float,
    once: bool,
) -> None:
    """Learn every lesson that is put into a folder, until it is stopped.

    Each lesson is learnt once, whenever the power goes. One that cannot be used, or that has ended
    the process twice, goes to the inbox's folder `refused`, with the reason beside it; what was
    left out of one stands beside it in `learnt`. Other
    programs may write the state between two lessons: nothing of theirs is lost. Where a bundle's
    tasks are all begun, new classes join the last one.
    """
    from cbpnet.run.previous_state import state_exists
    from mobile.device.inbox import Inbox

    make_folder(state.parent)
    learner = lesson.open(bundle, state if state_exists(state) else None)
    lessons = Inbox(
        *(inbox, learner, state, lesson.keep != 0),
        say=print_note,
        patience=patience,
        alive=partial(notify, "WATCHDOG=1"),
    )
    click.echo(f"watching {printable(str(lessons.waiting))}; {_known(learner.class_names)}")
    notify("READY=1")
    while True:
        notify("WATCHDOG=1", f"STATUS={_known(learner.class_names)}")
        start = time.monotonic()
        found = lessons.learn_next(
            lambda images: learner.learn(
                images,
                lesson.epochs,
                lesson.batch_size,
                task=_task_to_join(learner, images),
                progress=lessons.progress,
                keep=lesson.keep,
                source=printable(str(inbox)),
                journal=lesson.journal,
                prepared=lessons.progress,
            )
        )
        if found is not None:
            name, tasks = found
            seconds = time.monotonic() - start
            click.echo(
                f"{printable(name)}: {_sentence(tasks)} in {seconds:.1f} s; "
                f"{_known(learner.class_names)}"
                if tasks
                else printable(f"{name}: refused, see {lessons.refused / name}.txt")
            )
        elif once:
            return
        else:
            time.sleep(every)


def _task_to_join(learner: "OnDeviceLearner", labels: Iterable[str]) -> int | None:
    """Return the last task for new classes where no other can be begun, and say so."""
    tasks = learner.manifest.tasks
    if learner.manifest.config.one_pass or learner.known_tasks < tasks:
        return None
    new = [label for label in labels if label not in learner.class_names]
    if not new:
        return None
    print_note(f"all {tasks} of the bundle's tasks are begun: {listed(new)} join task {tasks}")
    return tasks


def _known(class_names: Sequence[str]) -> str:
    number = len(class_names)
    return f"{counted(number, 'class')} {'is' if number == 1 else 'are'} known"


def _sentence(tasks: Sequence["Lesson"]) -> str:
    images = sum(task.images for task in tasks)
    new = [label for task in tasks for label in task.new]
    decided = [decision_words(task.decision) for task in tasks if task.decision is not None]
    named = [f", new: {', '.join(new)}"] if new else []
    return "; ".join([f"learnt {counted(images, 'image')}" + "".join(named), *decided])
