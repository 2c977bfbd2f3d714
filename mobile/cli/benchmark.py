"""``cbpnet-mobile benchmark``: one table of many methods over the same tasks and seeds."""

import json
from pathlib import Path
from typing import Any

import click

from cbpnet.run.metrics import summarise
from cbpnet.run.training import TrainingConfig
from cbpnet.study.comparison import Protocol, run_benchmark
from cbpnet.study.comparison_report import format_table, write_report
from cbpnet.study.methods import METHODS
from mobile.cli.options import (
    build_backbone,
    build_config,
    dataset_options,
    holdout_option,
    learner_options,
    read_dataset,
)

__all__ = ["benchmark"]


@click.command(
    epilog="""\b
Examples:
  cbpnet-mobile benchmark --dataset digits --preset micro --weights micro.safetensors
  cbpnet-mobile benchmark --dataset cifar100 --data cifar-100-python.tar.xz \\
      --train-per-class 50 --test-per-class 20 --method ncm --method cbpnet --seed 0 --seed 1
"""
)
@dataset_options
@holdout_option
@learner_options
@click.option(
    "--method",
    "methods",
    type=click.Choice(METHODS),
    multiple=True,
    default=METHODS,
    help="May be repeated; default: all.",
)
@click.option(
    "--seed",
    "seeds",
    type=click.IntRange(min=0),
    multiple=True,
    default=(0, 1),
    show_default=True,
    help="Draws images, initial values and order; may be repeated.",
)
@click.option(
    "--projection-size",
    type=click.IntRange(min=1),
    default=2000,
    show_default=True,
    help="RanPAC's random features.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("runs/benchmark"),
    show_default=True,
    help="Folder for the report; finished runs in it are not run again.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the table as JSON.")
def benchmark(
    dataset: str,
    data: Path | None,
    strict: bool,
    classes_per_task: int | None,
    train_per_class: int | None,
    test_per_class: int | None,
    class_order: str,
    holdout: Any,
    preset: str,
    weights: Path | None,
    image_size: int | None,
    crop_pct: float | None,
    dtype: str,
    epochs: int,
    batch_size: int,
    budget: float | None,
    threads: int | None,
    methods: tuple[str, ...],
    seeds: tuple[int, ...],
    projection_size: int,
    out: Path,
    as_json: bool,
) -> None:
    """Compare methods task after task on the same images, and write the report."""
    backbone = build_backbone(preset, weights, image_size, crop_pct, dtype, threads)
    config = build_config(preset, backbone, budget)
    loaded = read_dataset(dataset, data, strict)
    protocol = Protocol(
        classes_per_task or loaded.classes_per_task,
        train_per_class,
        test_per_class,
        class_order,
        holdout,
        TrainingConfig(epochs, batch_size, batch_size),
        projection_size,
    )
    conditions = {
        "dataset": loaded.name,
        "backbone": backbone.name,
        "image size": backbone.image_size,
        "crop": backbone.preprocessing.crop_pct,
        "dtype": dtype,
        "classes a task": protocol.classes_per_task,
        "training images a class": train_per_class or "all",
        "test images a class": test_per_class or "all",
        "evaluated on": holdout,
        "class order": class_order,
        "epochs": epochs,
        "batch": batch_size,
    }
    settings = {**conditions, "config": config}
    notes = [note for seed in seeds for note in protocol.stream(loaded, seed).notes]
    for note in dict.fromkeys(notes):
        click.echo(f"note: {note}", err=True)
    results = run_benchmark(backbone, loaded, protocol, config, methods, seeds, out, settings)
    written = write_report(results, {**conditions, "seeds": list(seeds)}, out)
    if as_json:
        click.echo(json.dumps(json.loads((out / "results.json").read_text())["summary"]))
        return
    click.echo(format_table(summarise(results)))
    click.echo(f"seeds: {', '.join(map(str, seeds))}")
    click.echo(f"wrote {len(written)} files to {out}; start with {out / 'table.md'}")
