"""``cbpnet-mobile train``: learn tasks into a state file that any host can continue from."""

import json
import math
import shlex
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

import click
from tqdm import tqdm

from cbpnet.backbone.presets import count_trainables
from cbpnet.data.stream import TaskStream, make_stream
from cbpnet.host.atomic import make_folder
from cbpnet.method.learner import Learner
from cbpnet.run.protocol import TaskOutcome, run_protocol
from cbpnet.run.session import TrainingSession
from cbpnet.run.state_file import StateInfo
from cbpnet.run.training import TrainingConfig
from mobile.cli.options import (
    build_backbone,
    build_config,
    dataset_options,
    learner_options,
    read_dataset,
)

__all__ = ["train"]

_NAMED = 5  # classes of a task


@click.command(
    epilog="""\b
Examples:
  cbpnet-mobile train --dataset folder --data photos --out photos.safetensors
  cbpnet-mobile train --dataset digits --preset micro --weights micro_vit.safetensors \\
      --out digits.safetensors
"""
)
@dataset_options
@learner_options
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Draws images, initial values and order.",
)
@click.option(
    "--classes",
    type=click.IntRange(min=1),
    help="Capacity of the state in classes; default: as many as are learnt now.",
)
@click.option(
    "--tasks",
    type=click.IntRange(min=1),
    help="Capacity of the state in tasks; default: as many as are learnt now.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The state file, written after every task; an interrupted run goes on from it.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def train(
    dataset: str,
    data: Path | None,
    strict: bool,
    classes_per_task: int | None,
    train_per_class: int | None,
    test_per_class: int | None,
    class_order: Any,
    preset: str,
    weights: Path | None,
    image_size: int | None,
    crop_pct: float | None,
    dtype: str,
    epochs: int,
    batch_size: int,
    budget: float | None,
    threads: int | None,
    seed: int,
    classes: int | None,
    tasks: int | None,
    out: Path,
    as_json: bool,
) -> None:
    """Learn the classes of a data set, task after task, and write the learner's state.

    The same command goes on where an interrupted one stopped, and ends in the same state.
    """
    make_folder(out.parent)
    backbone = build_backbone(preset, weights, image_size, crop_pct, dtype, threads)
    config = build_config(preset, backbone, budget)
    loaded = read_dataset(dataset, data, strict)
    stream = make_stream(
        loaded,
        classes_per_task or loaded.classes_per_task,
        train_per_class,
        test_per_class,
        seed,
        class_order,
    )
    for note in stream.notes:
        click.echo(f"note: {note}", err=True)
    training = TrainingConfig(epochs, batch_size, batch_size)
    learner = Learner(
        backbone, config, classes or len(stream.class_names), tasks or len(stream.tasks)
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
    readout = {"learner": config.readout.kind}
    session = TrainingSession(out, learner, identity, dtype, stream, training, seed, readout)

    total, resumed = len(stream.tasks), session.finished
    if resumed:
        click.echo(f"{out} holds {resumed} of {total} tasks already", err=True)
    rows = []
    images = session.images_to_come()
    with tqdm(total=images, unit="img", mininterval=1.0, disable=not images) as bar:
        for learnt in run_protocol(session, stream, bar.update):
            rows.append(_row(learnt, stream))
            bar.set_description(f"{session.finished} of {total} tasks")
            if not as_json:
                bar.write(_sentence(rows[-1], total))

    found = count_trainables(config, backbone.dim, backbone.parameters_without_head)
    head = sum(
        math.prod(shape) for name, shape in learner.trainables.items() if name.startswith("head.")
    )
    if as_json:
        outcome = {
            "state": str(out),
            "bytes": out.stat().st_size,
            "seed": seed,
            "tasks": total,
            "classes": stream.class_names,
            "resumed_after": resumed,
            "learnt": rows,
            "trainable_parameters": found.trainable,
            "backbone_parameters": found.backbone,
            "share": found.share,
            "head_parameters": head,
        }
        click.echo(json.dumps(outcome, indent=2))
        return
    click.echo(
        f"trained {found.trainable:,} parameters, {100 * found.share:.3f} % of the backbone's "
        f"{found.backbone:,}, and a head of {head:,}; seed {seed}"
    )
    click.echo(
        f"{'wrote' if rows else 'this run had finished and wrote'} {out}: {total} tasks, "
        f"{len(stream.class_names)} classes, {out.stat().st_size / 1e6:.2f} MB"
    )
    same = ["--dataset", dataset, "--preset", preset]
    same += ["--data", str(data)] if data else []
    same += ["--weights", str(weights)] if weights else []
    click.echo(f"compare with other methods: {shlex.join(['cbpnet-mobile', 'benchmark', *same])}")


def _row(outcome: TaskOutcome, stream: TaskStream) -> dict[str, Any]:
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


def _sentence(row: Mapping[str, Any], total: int) -> str:
    names = ", ".join(row["classes"][:_NAMED])
    more = len(row["classes"]) - _NAMED
    names += f" and {more} more" if more > 0 else ""
    accuracies = [
        f"{100 * row[figure]:.1f} % {where}"
        for figure, where in (("accuracy", "on it"), ("average_accuracy", "on all so far"))
        if row[figure] is not None
    ]
    found = ", ".join(accuracies) or "no test images"
    return f"task {row['task']} of {total} ({names}): {found}"
