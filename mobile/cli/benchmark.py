"""``cbpnet-mobile benchmark``: one table of many methods over the same tasks and seeds."""

from dataclasses import dataclass
from pathlib import Path

import click

from cbpnet.backbone.presets import get_preset
from cbpnet.study.methods import METHODS
from mobile.cli.learner_options import FeatureOptions, KeepOptions, TrainingOptions
from mobile.cli.method_report import report_methods
from mobile.cli.option_groups import option, takes
from mobile.cli.options import (
    BackboneOptions,
    DatasetOptions,
    ProtocolOptions,
    print_notes,
)
from mobile.cli.parameters import Choice, FilePath

__all__ = ["benchmark"]


@dataclass(frozen=True)
class MethodOptions:
    """What is compared, and where the report goes."""

    methods: tuple[str, ...] = option(
        "--method",
        type=Choice(METHODS),
        multiple=True,
        default=METHODS,
        help="May be repeated; default: all.",
    )
    seeds: tuple[int, ...] = option(
        "--seed",
        type=click.IntRange(min=0),
        multiple=True,
        default=(0, 1),
        show_default=True,
        help="Draws images, initial values and order; may be repeated.",
    )
    projection_size: int = option(
        "--projection-size",
        type=click.IntRange(min=1),
        default=2000,
        show_default=True,
        help="RanPAC's random features.",
    )
    out: Path = option(
        "--out",
        type=FilePath(file_okay=False),
        default=Path("runs/benchmark"),
        show_default=True,
        help="Folder for the report; finished runs in it are not run again.",
    )


@click.command(
    epilog="""\b
Examples:
  cbpnet-mobile benchmark --dataset digits --preset micro --weights micro.safetensors
  cbpnet-mobile benchmark --dataset cifar100 --data cifar-100-python.tar.xz \\
      --train-per-class 50 --test-per-class 20 --method ncm --method one-pass --method cbpnet
"""
)
@takes(
    dataset=DatasetOptions,
    split=ProtocolOptions,
    backbone=BackboneOptions,
    features=FeatureOptions,
    lesson=TrainingOptions,
    kept=KeepOptions,
    compared=MethodOptions,
)
@click.option("--json", "as_json", is_flag=True, help="Print the table as JSON.")
def benchmark(
    dataset: DatasetOptions,
    split: ProtocolOptions,
    backbone: BackboneOptions,
    features: FeatureOptions,
    lesson: TrainingOptions,
    kept: KeepOptions,
    compared: MethodOptions,
    as_json: bool,
) -> None:
    """Compare methods task after task on the same images, and write the report.

    The closed-form rows stand on the features of the backbone without prompts. The row oracle
    counts all statistics anew from all images after each adaptation: a study, as no device has
    them.
    """
    from cbpnet.study.comparison import ComparisonProtocol, run_benchmark

    seeds, out = compared.seeds, compared.out
    frozen = backbone.load()
    preset = get_preset(backbone.preset)
    cbpnet, one_pass = preset.config("cbpnet"), features.counting(preset.config())
    for config in (cbpnet, one_pass):
        backbone.check(config, frozen)
    loaded = dataset.load()
    protocol = ComparisonProtocol(
        split.task_size(loaded),
        split.train_per_class,
        split.test_per_class,
        split.class_order,
        split.holdout,
        lesson.epochs,
        lesson.batch_size,
        lesson.flip,
        kept.keep,
        compared.projection_size,
    )
    print_notes(
        dict.fromkeys(note for seed in seeds for note in protocol.stream(loaded, seed).notes)
    )
    conditions = {
        "dataset": loaded.name,
        **backbone.conditions(frozen),
        **split.conditions(loaded),
        "features": ", ".join(one_pass.features),
        **lesson.conditions(),
        **kept.conditions(),
    }
    results = run_benchmark(
        frozen, loaded, protocol, cbpnet, one_pass, compared.methods, seeds, out, conditions
    )
    report_methods(results, conditions, seeds, out, as_json)
