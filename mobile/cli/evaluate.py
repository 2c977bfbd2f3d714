"""``cbpnet-mobile evaluate``: the class-incremental protocol, run through a bundle."""

import json
from pathlib import Path
from typing import Any

import click
from tqdm import tqdm

from cbpnet.atomic import make_folder
from cbpnet.data.stream import make_stream
from cbpnet.metrics import summarise
from cbpnet.report import format_table, write_report
from cbpnet.training import TrainingConfig
from mobile.cli.bundle_options import bundle_argument, open_program, threads_option
from mobile.cli.options import dataset_options, holdout_option, read_dataset
from mobile.evaluation import BundleEvaluation
from mobile.program import get_threads

__all__ = ["evaluate"]


@click.command(
    epilog="""\b
Example:
  cbpnet-mobile evaluate cifar.pte --dataset cifar100 --data cifar-100-python.tar.xz \\
      --train-per-class 50 --test-per-class 20 --seed 0 --out runs/cifar
"""
)
@bundle_argument
@dataset_options
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
    dataset: str,
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
    """Learn a data set through a bundle, task after task, and write the report.

    The same images, order, initial values and settings as `benchmark` with the same options; what
    the bundle's own state knows has no part in it. It may be interrupted and run again.
    """
    program = open_program(bundle, threads)
    manifest = program.manifest
    make_folder(out)
    loaded = read_dataset(dataset, data, strict)
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
    if as_json:
        click.echo(json.dumps(json.loads((out / "results.json").read_text())["summary"]))
        return
    click.echo(format_table(summarise(results)))
    click.echo(f"wrote {len(written)} files to {out}; start with {out / 'table.md'}")
    click.echo("compare with the learner in PyTorch: cbpnet-mobile benchmark, same options")
