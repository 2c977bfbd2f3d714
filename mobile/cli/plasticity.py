"""``cbpnet-mobile plasticity``: does the block still learn after hundreds of tasks?"""

from itertools import product
from pathlib import Path
from typing import Any, get_args

import click
import torch
from torch import Tensor
from tqdm import tqdm

from cbpnet.backbone.vit import Backbone
from cbpnet.data.catalogue import DATASETS
from cbpnet.data.dataset import Dataset
from cbpnet.data.stream import make_stream
from cbpnet.method.config import CBPConfig, LearnerConfig
from cbpnet.method.learner import Learner
from cbpnet.run.evaluation import query_stream
from cbpnet.run.training import TrainingConfig
from cbpnet.study.plasticity import Form, PairConfig, PairFeatures, Variant, run_pairs
from cbpnet.study.plasticity_report import PairStudy, format_studies, write_studies
from mobile.cli.options import build_backbone, build_config, learner_options, read_dataset

__all__ = ["plasticity"]

# The images are the same for all seeds, which draw the pairs, their order and the weights.
IMAGE_SEED = 0


@click.command(
    epilog="""\b
Example, the figures of docs/plasticity.md:
  cbpnet-mobile plasticity --dataset cifar100 --data cifar-100-python.tar.xz \\
      --train-per-class 50 --test-per-class 20 --epochs 2 --seed 0 --seed 1 --seed 2
"""
)
@click.option(
    "--dataset",
    type=click.Choice(list(DATASETS)),
    required=True,
    help="What kind of data set --data is.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="The data set's folder or archive; digits come with a library and need none.",
)
@click.option("--strict", is_flag=True, help="Fail on an unreadable image; default: skip it.")
@click.option("--train-per-class", type=click.IntRange(min=1), help="Default: all.")
@click.option("--test-per-class", type=click.IntRange(min=1), help="Default: all.")
@learner_options
@click.option(
    "--tasks", type=click.IntRange(min=5), default=500, show_default=True, help="Pairs of classes."
)
@click.option(
    "--form",
    "forms",
    type=click.Choice(get_args(Form)),
    multiple=True,
    default=get_args(Form),
    show_default=True,
    help="The learner's residual block, or a block that the head cannot see past.",
)
@click.option(
    "--step-size",
    "step_sizes",
    type=click.FloatRange(min=0, min_open=True),
    multiple=True,
    default=(0.01, 0.03),
    show_default=True,
    help="Adam's rate for block and head; may be repeated, each with each form.",
)
@click.option("--hidden", type=click.IntRange(min=1), help="Units; default: the preset's.")
@click.option(
    "--rate",
    "rates",
    type=click.FloatRange(0, 1, min_open=True),
    multiple=True,
    default=(1e-4, 3e-4, 1e-3, 1e-2),
    show_default=True,
    help="CBP's replacement rates, beside backpropagation alone.",
)
@click.option(
    "--maturity",
    type=click.IntRange(min=0),
    default=100,
    show_default=True,
    help="CBP's maturity threshold in steps.",
)
@click.option(
    "--seed",
    "seeds",
    type=click.IntRange(min=0),
    multiple=True,
    default=(0, 1, 2),
    show_default=True,
    help="Draws the pairs, their order and the weights; may be repeated.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("runs/plasticity"),
    show_default=True,
    help="Folder for the report.",
)
def plasticity(
    dataset: str,
    data: Path | None,
    strict: bool,
    train_per_class: int | None,
    test_per_class: int | None,
    preset: str,
    weights: Path | None,
    image_size: int | None,
    crop_pct: float | None,
    dtype: str,
    epochs: int,
    batch_size: int,
    budget: float | None,
    threads: int | None,
    tasks: int,
    forms: tuple[Any, ...],
    step_sizes: tuple[float, ...],
    hidden: int | None,
    rates: tuple[float, ...],
    maturity: int,
    seeds: tuple[int, ...],
    out: Path,
) -> None:
    """Learn a long stream of two-class tasks with block and head alone, on frozen features.

    Reports the accuracy on each pair right after learning it, for backpropagation alone, for
    continual backpropagation, for a new block in every task and for a block that is never trained.
    """
    backbone = build_backbone(preset, weights, image_size, crop_pct, dtype, threads)
    config = build_config(preset, backbone, budget)
    assert config.block is not None
    hidden = hidden or config.block.hidden
    loaded = read_dataset(dataset, data, strict)
    features = _features(backbone, config, loaded, train_per_class, test_per_class)
    training = TrainingConfig(epochs, batch_size, batch_size)
    variants = _variants(rates, maturity)
    studies = []
    for form, step_size in product(forms, step_sizes):
        pairs = PairConfig(tasks, hidden, form, step_size, training)
        title = f"{form}, step size {step_size:g}"
        with tqdm(total=tasks, desc=title, unit="task", mininterval=1.0) as bar:
            studies.append(
                PairStudy(pairs, run_pairs(features, pairs, variants, seeds, bar.update))
            )
    conditions = {
        "dataset": loaded.name,
        "backbone": backbone.name,
        "image size": backbone.image_size,
        "dtype": dtype,
        "training images a class": features.train.shape[1],
        "test images a class": features.test.shape[1],
        "tasks": tasks,
        "hidden units": hidden,
        "epochs": epochs,
        "batch": batch_size,
        "maturity": maturity,
        "seeds": " ".join(map(str, seeds)),
    }
    written = write_studies(studies, seeds, conditions, out)
    click.echo(format_studies(studies))
    click.echo(f"seeds: {', '.join(map(str, seeds))}")
    click.echo(f"wrote {len(written)} files to {out}; start with {out / 'table.md'}")


def _variants(rates: tuple[float, ...], maturity: int) -> dict[str, Variant]:
    plain = CBPConfig(0.0, maturity)
    return {
        "backpropagation alone": Variant(plain),
        **{f"CBP, rate {rate:g}": Variant(CBPConfig(rate, maturity)) for rate in rates},
        "new block in every task": Variant(plain, "fresh"),
        "block never trained": Variant(plain, "frozen"),
    }


def _features(
    backbone: Backbone,
    config: LearnerConfig,
    dataset: Dataset,
    train_per_class: int | None,
    test_per_class: int | None,
) -> PairFeatures:
    """Compute the frozen features, as many a class as the smallest class has."""
    stream = make_stream(
        dataset, len(dataset.class_names), train_per_class, test_per_class, IMAGE_SEED
    )
    for note in stream.notes:
        click.echo(f"note: {note}", err=True)
    (task,) = stream.tasks
    learner = Learner(backbone, config, len(dataset.class_names), 1)
    images = len(task.train) + len(task.test)
    with tqdm(total=images, desc="query features", unit="img", mininterval=1.0) as bar:
        queries = query_stream(learner, stream, backbone.preprocessing, bar.update)
    return PairFeatures(
        _by_class(queries.train[0], torch.from_numpy(task.train_labels)),
        _by_class(queries.test[0], torch.from_numpy(task.test_labels)),
    )


def _by_class(features: Tensor, labels: Tensor) -> Tensor:
    """Return features [C, N, D] of as many images of each class as the smallest has."""
    parts = [features[labels == label] for label in labels.unique()]
    smallest = min(map(len, parts))
    return torch.stack([part[:smallest] for part in parts])
