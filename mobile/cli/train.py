"""``cbpnet-mobile train``: learn tasks into a state file that any host can continue from."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import click

from cbpnet.backbone.presets import Budget, count_trainables, get_preset
from cbpnet.host.atomic import make_folder
from cbpnet.host.progress import expect, progress_bar
from cbpnet.host.text import counted, listed
from mobile.cli.learner_options import LearnerOptions, TrainingOptions
from mobile.cli.lesson_report import decision_json, decision_words
from mobile.cli.option_groups import option, takes
from mobile.cli.options import BackboneOptions, DatasetOptions, TaskOptions, print_json, print_note
from mobile.cli.parameters import FilePath

if TYPE_CHECKING:
    from cbpnet.backbone.vit import Backbone
    from cbpnet.data.stream import TaskStream
    from cbpnet.method.config import LearnerConfig
    from cbpnet.run.protocol import TaskOutcome
    from cbpnet.run.session import StatefulContender, TrainingSession
    from cbpnet.run.training import TrainingConfig

__all__ = ["train"]

_Row = dict[str, Any]


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
        help="Capacity of cbpnet's state in tasks; default: as many as are learnt now.",
    )
    out: Path = option(
        "--out",
        type=FilePath(dir_okay=False),
        required=True,
        help="The state file, written after every task; an interrupted run goes on from it.",
    )

    def session(
        self,
        backbone: "Backbone",
        dtype: str,
        config: "LearnerConfig",
        stream: "TaskStream",
        training: "TrainingConfig",
    ) -> "TrainingSession":
        """Begin the run that lives in the file, or go on with it."""
        from cbpnet.run.session import TrainingSession
        from cbpnet.run.state_info import StateInfo

        if config.one_pass and self.tasks is not None:
            raise click.UsageError("--tasks is cbpnet's: a one-pass learner knows no tasks")
        classes = self.classes or len(stream.class_names)
        tasks = 1 if config.one_pass else self.tasks or len(stream.tasks)
        identity = StateInfo(
            backbone=backbone.name,
            weights=backbone.weights_fingerprint,
            dim=backbone.dim,
            preprocessing=backbone.preprocessing,
            config=config,
            classes=classes,
            tasks=tasks,
            class_names=(),
            progress={},
        )
        contender = _contender(backbone, config, classes, tasks, stream, training, self.seed)
        return TrainingSession(self.out, contender, identity, dtype, print_note)


def _contender(
    backbone: "Backbone",
    config: "LearnerConfig",
    classes: int,
    tasks: int,
    stream: "TaskStream",
    training: "TrainingConfig",
    seed: int,
) -> "StatefulContender":
    """Return a learner in PyTorch that is to learn a stream."""
    from cbpnet.method.eager import EagerLearner, EagerOnePass
    from cbpnet.method.learner import Learner
    from cbpnet.method.one_pass import OnePassLearner
    from cbpnet.run.contender import LearnerContender
    from cbpnet.run.one_pass_contender import OnePassContender

    rest = stream, backbone.preprocessing, training, seed, {"learner": config.readout.kind}
    if config.one_pass:
        return OnePassContender(EagerOnePass(OnePassLearner(backbone, config, classes)), *rest)
    return LearnerContender(EagerLearner(Learner(backbone, config, classes, tasks)), *rest)


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
    learner=LearnerOptions,
    lesson=TrainingOptions,
    state=StateOptions,
)
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def train(
    dataset: DatasetOptions,
    split: TaskOptions,
    backbone: BackboneOptions,
    learner: LearnerOptions,
    lesson: TrainingOptions,
    state: StateOptions,
    as_json: bool,
) -> None:
    """Learn the classes of a data set, task after task, and write the learner's state.

    The same command goes on where an interrupted one stopped, and ends in the same state.
    """
    make_folder(state.out.parent)
    frozen = backbone.load()
    config = learner.config(get_preset(backbone.preset))
    backbone.check(config, frozen)
    stream = split.stream(dataset.load(), state.seed)
    session = state.session(frozen, backbone.dtype, config, stream, lesson.training(config))
    resumed = session.finished
    if resumed:
        click.echo(
            f"{state.out} holds {resumed} of {counted(len(stream.tasks), 'task')} already", err=True
        )
    to_come = session.contender.images_to_come()
    rows = _learn_all(session, to_come, silent=as_json) if to_come else []
    found = count_trainables(config, frozen.dim, frozen.parameters_without_head)
    head = _head_parameters(config, frozen.dim, session.identity.classes)
    if as_json:
        outcome = _outcome(state, stream, rows, found)
        outcome |= {"resumed_after": resumed, "head_parameters": head}
        print_json(outcome)
        return
    click.echo(
        f"trained {found.trainable:,} parameters, {100 * found.share:.3f} % of the backbone's "
        f"{found.backbone:,}{f', and a head of {head:,}' if head else ''}; seed {state.seed}"
    )
    click.echo(
        f"{'wrote' if rows else 'this run had finished and wrote'} {state.out}: "
        f"{counted(len(stream.tasks), 'task')}, {counted(len(stream.class_names), 'class')}, "
        f"{state.out.stat().st_size / 1e6:.2f} MB"
    )
    click.echo(f"compare with other methods: {_comparison(dataset, backbone)}")


def _learn_all(session: "TrainingSession", images: int, silent: bool) -> list[_Row]:
    """Learn the tasks that are to come, and say of each what was learnt."""
    from cbpnet.run.protocol import run_protocol

    contender, rows = session.contender, []
    total = len(contender.stream.tasks)
    with progress_bar("learning", images) as bar:
        for learnt in run_protocol(session, contender.stream, bar.update):
            rows.append(_row(learnt, contender.stream))
            bar.set_description(f"{session.finished} of {total} tasks")
            expect(bar, contender.images_to_come())
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
        "forwards": outcome.learnt.forwards if outcome.learnt else None,
        "decision": outcome.learnt.decision if outcome.learnt else None,
    }


def _sentence(row: _Row, total: int) -> str:
    accuracies = [
        f"{100 * row[figure]:.1f} % {where}"
        for figure, where in (("accuracy", "on it"), ("average_accuracy", "on all so far"))
        if row[figure] is not None
    ]
    found = ", ".join(accuracies) or "no test images"
    decided = f"; {decision_words(row['decision'])}" if row["decision"] else ""
    return f"task {row['task']} of {total} ({listed(row['classes'])}): {found}{decided}"


def _outcome(
    state: StateOptions, stream: "TaskStream", rows: Sequence[_Row], found: Budget
) -> dict[str, Any]:
    return {
        "state": str(state.out),
        "bytes": state.out.stat().st_size,
        "seed": state.seed,
        "tasks": len(stream.tasks),
        "classes": stream.class_names,
        "learnt": [row | {"decision": decision_json(row["decision"])} for row in rows],
        "trainable_parameters": found.trainable,
        "backbone_parameters": found.backbone,
        "share": found.share,
    }


def _head_parameters(config: "LearnerConfig", dim: int, classes: int) -> int:
    """Return the size of a trained head; that of an adaptation is thrown away."""
    if config.one_pass:
        return 0
    from cbpnet.method.layout import count_parameters, trainable_layout

    return count_parameters(trainable_layout(config, dim, classes), "head")


def _comparison(dataset: DatasetOptions, backbone: BackboneOptions) -> str:
    """Return the command that compares methods on the same images."""
    command = ["cbpnet-mobile", "benchmark", "--dataset", dataset.dataset]
    command += ["--preset", backbone.preset]
    command += ["--data", str(dataset.data)] if dataset.data else []
    command += ["--weights", str(backbone.weights)] if backbone.weights else []
    return shlex.join(command)
