"""``cbpnet-mobile train``: learn tasks into a state file that any host can continue from."""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import click

from cbpnet.backbone.presets import Budget, count_trainables
from cbpnet.host.atomic import make_folder
from cbpnet.host.progress import progress_bar
from cbpnet.host.text import counted, listed
from mobile.cli.option_groups import option, takes
from mobile.cli.options import BackboneOptions, DatasetOptions, LessonOptions, TaskOptions

if TYPE_CHECKING:
    from cbpnet.backbone.vit import Backbone
    from cbpnet.data.stream import TaskStream
    from cbpnet.method.config import LearnerConfig
    from cbpnet.run.protocol import TaskOutcome
    from cbpnet.run.session import TrainingSession

__all__ = ["train"]

_Row = Mapping[str, Any]


@dataclass(frozen=True)
class StateOptions:
    """The state file, what is drawn for it, and the room that it has."""

    seed: int = option(
        "--seed",
        type=click.IntRange(min=0),
        default=0,
        show_default=True,
        help="Draws images, initial values and order.",
    )
    classes: int | None = option(
        "--classes",
        type=click.IntRange(min=1),
        help="Capacity of the state in classes; default: as many as are learnt now.",
    )
    tasks: int | None = option(
        "--tasks",
        type=click.IntRange(min=1),
        help="Capacity of the state in tasks; default: as many as are learnt now.",
    )
    out: Path = option(
        "--out",
        type=click.Path(path_type=Path, dir_okay=False),
        required=True,
        help="The state file, written after every task; an interrupted run goes on from it.",
    )

    def session(
        self,
        backbone: "Backbone",
        dtype: str,
        config: "LearnerConfig",
        stream: "TaskStream",
        lesson: LessonOptions,
    ) -> "TrainingSession":
        """Begin the run that lives in the file, or go on with it."""
        from cbpnet.method.learner import Learner
        from cbpnet.run.session import TrainingSession
        from cbpnet.run.state_info import StateInfo

        learner = Learner(
            backbone,
            config,
            self.classes or len(stream.class_names),
            self.tasks or len(stream.tasks),
        )
        identity = StateInfo(
            backbone=backbone.name,
            weights=backbone.weights_fingerprint,
            dim=backbone.dim,
            preprocessing=backbone.preprocessing,
            config=config,
            classes=learner.classes,
            tasks=learner.tasks,
            class_names=(),
            progress={},
        )
        return TrainingSession(
            self.out,
            learner,
            identity,
            dtype,
            stream,
            lesson.training(),
            self.seed,
            {"learner": config.readout.kind},
        )


@click.command(
    epilog="""\b
Examples:
  cbpnet-mobile train --dataset folder --data photos --out photos.safetensors
  cbpnet-mobile train --dataset digits --preset micro --weights micro_vit.safetensors \\
      --out digits.safetensors
"""
)
@takes(
    dataset=DatasetOptions,
    split=TaskOptions,
    backbone=BackboneOptions,
    lesson=LessonOptions,
    state=StateOptions,
)
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def train(
    dataset: DatasetOptions,
    split: TaskOptions,
    backbone: BackboneOptions,
    lesson: LessonOptions,
    state: StateOptions,
    as_json: bool,
) -> None:
    """Learn the classes of a data set, task after task, and write the learner's state.

    The same command goes on where an interrupted one stopped, and ends in the same state.
    """
    make_folder(state.out.parent)
    frozen = backbone.load()
    config = backbone.config(frozen)
    stream = split.stream(dataset.load(), state.seed)
    session = state.session(frozen, backbone.dtype, config, stream, lesson)
    resumed = session.finished
    if resumed:
        click.echo(
            f"{state.out} holds {resumed} of {counted(len(stream.tasks), 'task')} already", err=True
        )
    rows = _learn_all(session, silent=as_json) if session.images_to_come() else []
    found = count_trainables(config, frozen.dim, frozen.parameters_without_head)
    head = _head_parameters(config, frozen.dim, session.learner.classes)
    if as_json:
        outcome = _outcome(state, stream, rows, found)
        outcome |= {"resumed_after": resumed, "head_parameters": head}
        click.echo(json.dumps(outcome, indent=2))
        return
    click.echo(
        f"trained {found.trainable:,} parameters, {100 * found.share:.3f} % of the backbone's "
        f"{found.backbone:,}, and a head of {head:,}; seed {state.seed}"
    )
    click.echo(
        f"{'wrote' if rows else 'this run had finished and wrote'} {state.out}: "
        f"{counted(len(stream.tasks), 'task')}, {counted(len(stream.class_names), 'class')}, "
        f"{state.out.stat().st_size / 1e6:.2f} MB"
    )
    click.echo(f"compare with other methods: {_comparison(dataset, backbone)}")


def _learn_all(session: "TrainingSession", silent: bool) -> list[_Row]:
    """Learn the tasks that are to come, and say of each what was learnt."""
    from cbpnet.run.protocol import run_protocol

    rows, total = [], len(session.stream.tasks)
    with progress_bar("learning", session.images_to_come()) as bar:
        for learnt in run_protocol(session, session.stream, bar.update):
            rows.append(_row(learnt, session.stream))
            bar.set_description(f"{session.finished} of {total} tasks")
            if not silent:
                bar.write(_sentence(rows[-1], total))
    return rows


def _row(outcome: "TaskOutcome", stream: "TaskStream") -> _Row:
    """Return what a task was, and the accuracies where there are test images."""
    accuracies = {
        found.task: accuracy for found in outcome.tested for accuracy in found.accuracy.values()
    }
    return {
        "task": outcome.task + 1,
        "classes": [stream.class_names[label] for label in stream.tasks[outcome.task].classes],
        "accuracy": accuracies.get(outcome.task),
        "average_accuracy": fmean(accuracies.values()) if accuracies else None,
    }


def _sentence(row: _Row, total: int) -> str:
    accuracies = [
        f"{100 * row[figure]:.1f} % {where}"
        for figure, where in (("accuracy", "on it"), ("average_accuracy", "on all so far"))
        if row[figure] is not None
    ]
    found = ", ".join(accuracies) or "no test images"
    return f"task {row['task']} of {total} ({listed(row['classes'])}): {found}"


def _outcome(
    state: StateOptions, stream: "TaskStream", rows: Sequence[_Row], found: Budget
) -> dict[str, Any]:
    return {
        "state": str(state.out),
        "bytes": state.out.stat().st_size,
        "seed": state.seed,
        "tasks": len(stream.tasks),
        "classes": stream.class_names,
        "learnt": rows,
        "trainable_parameters": found.trainable,
        "backbone_parameters": found.backbone,
        "share": found.share,
    }


def _head_parameters(config: "LearnerConfig", dim: int, classes: int) -> int:
    from cbpnet.method.layout import count_parameters, trainable_layout

    return count_parameters(trainable_layout(config, dim, classes), "head")


def _comparison(dataset: DatasetOptions, backbone: BackboneOptions) -> str:
    """Return the command that compares methods on the same images."""
    command = ["cbpnet-mobile", "benchmark", "--dataset", dataset.dataset]
    command += ["--preset", backbone.preset]
    command += ["--data", str(dataset.data)] if dataset.data else []
    command += ["--weights", str(backbone.weights)] if backbone.weights else []
    return shlex.join(command)
