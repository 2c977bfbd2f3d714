"""``cbpnet-mobile evaluate``: a bundle on test images, or learning task after task."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from tqdm import tqdm

from cbpnet.data.folder import read_class_folders
from cbpnet.data.stream import make_stream
from cbpnet.host.atomic import make_folder
from cbpnet.host.errors import InputError
from cbpnet.run.metrics import summarise
from cbpnet.run.training import TrainingConfig
from cbpnet.study.comparison_report import format_table, write_report
from mobile.cli.bundle_options import (
    bundle_argument,
    open_learner,
    open_program,
    threads_option,
)
from mobile.cli.options import holdout_option, optional_dataset_options, read_dataset
from mobile.device.program import get_threads
from mobile.measure.accuracy import Accuracy, TestImages, measure_accuracy
from mobile.measure.evaluation import BundleEvaluation
from mobile.measure.protocol import protocol_figures
from mobile.measure.results import describe_bundle, file_digest, take, write_result

__all__ = ["evaluate"]

_RESULT = "board_result.json"  # for `report`
_OF_LEARNING = ("classes_per_task", "train_per_class", "class_order", "epochs", "batch_size")
_NAMED = 5  # classes


@click.command(
    epilog="""\b
Examples:
  cbpnet-mobile evaluate pets.pte --state pets.safetensors --images test_photos
  cbpnet-mobile evaluate cifar.pte --dataset cifar100 --data cifar-100-python.tar.xz \\
      --state cifar.safetensors --test-per-class 20
  cbpnet-mobile evaluate cifar.pte --dataset cifar100 --data cifar-100-python.tar.xz \\
      --train-per-class 50 --test-per-class 20 --seed 0 --out runs/cifar
"""
)
@bundle_argument
@click.option(
    "--state",
    type=click.Path(path_type=Path),
    help="Test what this state knows; default: with --images, what the bundle itself knows.",
)
@click.option(
    "--images",
    type=click.Path(path_type=Path),
    help="Test on a folder with one folder of images for each class.",
)
@optional_dataset_options
@holdout_option
@click.option(
    "--epochs", type=click.IntRange(min=1), default=5, show_default=True, help="Per task."
)
@click.option(
    "--batch-size", type=click.IntRange(min=1), default=10, show_default=True, help="Per step."
)
@threads_option
@click.option(
    "--seed",
    "seeds",
    type=click.IntRange(min=0),
    multiple=True,
    default=(0,),
    show_default=True,
    help="Draws images, initial values and order; may be repeated.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("runs/evaluate"),
    show_default=True,
    help="Folder for the report; an interrupted evaluation goes on from what it holds.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the table as JSON.")
def evaluate(
    bundle: Path,
    state: Path | None,
    images: Path | None,
    dataset: str | None,
    data: Path | None,
    strict: bool,
    classes_per_task: int | None,
    train_per_class: int | None,
    test_per_class: int | None,
    class_order: Any,
    holdout: Any,
    epochs: int,
    batch_size: int,
    threads: int | None,
    seeds: tuple[int, ...],
    out: Path,
    as_json: bool,
) -> None:
    """Test a bundle on images; or learn a data set through it, task after task.

    With --images or --state nothing is learnt: the images of the classes that are known are
    classified. Otherwise the bundle learns --dataset from nothing, and is tested after every task:
    with the same images, order, initial values and settings as `benchmark` with the same options.
    Either writes a report, and goes on from what it holds when it is interrupted and run again.
    """
    if (images is None) == (dataset is None):
        raise click.UsageError("name what to test on: --images FOLDER, or --dataset with --data")
    make_folder(out)
    if images is not None or state is not None:
        _refuse_options_of_learning()
        test, name = _test_images(images, dataset, data, strict, test_per_class, seeds, holdout)
        _test(bundle, state, test, name, threads, out, as_json)
        return
    program = open_program(bundle, threads)
    manifest = program.manifest
    loaded = read_dataset(dataset or "", data, strict)
    per_task = classes_per_task or loaded.classes_per_task
    training = TrainingConfig(epochs, batch_size, batch_size)
    runs = []
    for seed in dict.fromkeys(seeds):
        stream = make_stream(
            loaded, per_task, train_per_class, test_per_class, seed, class_order, holdout
        )
        for note in stream.notes:
            click.echo(f"note: {note}", err=True)
        runs.append(BundleEvaluation(program, stream, training, seed, out))
    results = []
    with tqdm(total=sum(run.images_to_come for run in runs), unit="img", mininterval=1.0) as bar:
        for run in runs:
            results += run.run(bar.update)
    conditions = {
        "dataset": loaded.name,
        "backbone": manifest.backbone.name,
        "program": f"{manifest.target} {manifest.precision}, {bundle.stat().st_size / 1e6:.2f} MB",
        "threads": get_threads(),
        "image size": manifest.image_size,
        "crop": manifest.preprocessing.crop_pct,
        "classes a task": per_task,
        "training images a class": train_per_class or "all",
        "test images a class": test_per_class or "all",
        "evaluated on": holdout,
        "class order": class_order,
        "epochs": epochs,
        "batch": batch_size,
        "seeds": list(seeds),
    }
    written = write_report(results, conditions, out)
    figures = protocol_figures(loaded.name, conditions, results)
    write_result(out / _RESULT, take(describe_bundle(bundle, manifest), figures))
    if as_json:
        click.echo(json.dumps(json.loads((out / "results.json").read_text())["summary"]))
        return
    click.echo(format_table(summarise(results)))
    click.echo(f"wrote {len(written)} files to {out}; start with {out / 'table.md'}")
    click.echo("compare with the learner in PyTorch: cbpnet-mobile benchmark, same options")


def _refuse_options_of_learning() -> None:
    """Raise click's error for wrong usage if an option was given that a test has no use for."""
    context = click.get_current_context()
    for name in _OF_LEARNING:
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            option = name.replace("_", "-")
            raise click.UsageError(f"--{option} is of learning, and --state and --images only test")


def _test_images(
    images: Path | None,
    dataset: str | None,
    data: Path | None,
    strict: bool,
    test_per_class: int | None,
    seeds: Sequence[int],
    holdout: Any,
) -> tuple[TestImages, str]:
    """Return the images of a folder, or the test images of a data set, and what they are called."""
    if images is not None:
        classes, notes = read_class_folders(
            images, strict=strict, progress=partial(tqdm, desc="reading", unit="img")
        )
        test, name = TestImages.of_folders(classes), images.resolve().name
    else:
        loaded = read_dataset(dataset or "", data, strict)
        everything = len(loaded.class_names)
        stream = make_stream(loaded, everything, None, test_per_class, seeds[0], "natural", holdout)
        test, notes, name = TestImages.of_stream(stream), stream.notes, loaded.name
    for note in notes:
        click.echo(f"note: {note}", err=True)
    return test, name


def _test(
    bundle: Path,
    state: Path | None,
    test: TestImages,
    name: str,
    threads: int | None,
    out: Path,
    as_json: bool,
) -> None:
    learner = open_learner(bundle, state, threads)
    if not learner.class_names:
        raise InputError(f"{bundle} knows no class itself; name what it has learnt with --state")
    described = describe_bundle(bundle, learner.manifest)
    learnt = "" if state is None else file_digest(state)
    identity = {"bundle": described.digest, "state": learnt}
    total = len(test.only(learner.class_names).labels)
    with tqdm(total=total, unit="img", mininterval=1.0) as bar:
        found = measure_accuracy(
            learner, test, name, state, identity, out / "answers.jsonl", bar.update
        )
    result = take(described, found)
    write_result(out / _RESULT, result)
    if as_json:
        click.echo(json.dumps(asdict(result), indent=2))
        return
    click.echo(result.board.model)
    _tell(found)
    click.echo(f"wrote {out / _RESULT} and answers.jsonl; next: cbpnet-mobile report {out}")


def _tell(found: Accuracy) -> None:
    click.echo(
        f"{100 * found.share:.1f} % of {found.images} images of {len(found.classes)} classes, "
        f"among {found.known_classes} known classes"
        + ("" if found.images_per_second is None else f"; {found.images_per_second:.1f} images/s")
    )
    worst = sorted(found.classes, key=lambda one: one.right / one.images)[:_NAMED]
    rows = [f"{one.label} {100 * one.right / one.images:.0f} %" for one in worst]
    click.echo(f"hardest: {', '.join(rows)}")
    for one in found.confusions[:_NAMED]:
        click.echo(f"{one.images} of {one.label} taken for {one.taken_for}")
    if found.left_out:
        named = ", ".join(found.left_out[:_NAMED])
        click.echo(f"left out, not known: {len(found.left_out)} classes ({named} ...)", err=True)
