"""``cbpnet-mobile plasticity``: does the block still learn after hundreds of tasks?"""

from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cbpnet.backbone.presets import get_preset
from cbpnet.data.dataset import Dataset
from cbpnet.data.stream import make_stream
from cbpnet.host.progress import progress_bar
from cbpnet.method.config import CBPConfig, LearnerConfig
from mobile.cli.option_groups import option, takes
from mobile.cli.options import (
    BackboneOptions,
    DatasetOptions,
    LessonOptions,
    SampleOptions,
    print_notes,
)
from mobile.cli.parameters import Choice, FilePath

if TYPE_CHECKING:
    from torch import Tensor

    from cbpnet.backbone.vit import Backbone
    from cbpnet.study.plasticity import Form, PairConfig, PairFeatures, Variant

__all__ = ["plasticity"]

# The images are the same for all seeds, which draw the pairs, their order and the weights.
IMAGE_SEED = 0

_FORMS = ("residual", "bottleneck")


@dataclass(frozen=True)
class StreamOptions:
    """The stream of pairs, the variants that learn it, and where the report goes."""

    tasks: int = option(
        "--tasks",
        type=click.IntRange(min=5),
        default=500,
        show_default=True,
        help="Pairs of classes.",
    )
    forms: tuple["Form", ...] = option(
        "--form",
        type=Choice(_FORMS),
        multiple=True,
        default=_FORMS,
        show_default=True,
        help="The learner's residual block, or a block that the head cannot see past.",
    )
    step_sizes: tuple[float, ...] = option(
        "--step-size",
        type=click.FloatRange(min=0, min_open=True),
        multiple=True,
        default=(0.01, 0.03),
        show_default=True,
        help="Adam's rate for block and head; may be repeated, each with each form.",
    )
    hidden: int | None = option(
        "--hidden", type=click.IntRange(min=1), help="Units; default: the preset's."
    )
    rates: tuple[float, ...] = option(
        "--rate",
        type=click.FloatRange(0, 1, min_open=True),
        multiple=True,
        default=(1e-4, 3e-4, 1e-3, 1e-2),
        show_default=True,
        help="CBP's replacement rates, beside backpropagation alone.",
    )
    maturity: int = option(
        "--maturity",
        type=click.IntRange(min=0),
        default=100,
        show_default=True,
        help="CBP's maturity threshold in steps.",
    )
    seeds: tuple[int, ...] = option(
        "--seed",
        type=click.IntRange(min=0),
        multiple=True,
        default=(0, 1, 2),
        show_default=True,
        help="Draws the pairs, their order and the weights; may be repeated.",
    )
    out: Path = option(
        "--out",
        type=FilePath(file_okay=False),
        default=Path("runs/plasticity"),
        show_default=True,
        help="Folder for the report.",
    )

    def regimes(self, hidden: int, lesson: LessonOptions) -> "list[PairConfig]":
        """Return the configuration of each form with each step size."""
        from cbpnet.study.plasticity import PairConfig

        return [
            PairConfig(self.tasks, self.hidden or hidden, form, step_size, lesson.training())
            for form, step_size in product(self.forms, self.step_sizes)
        ]

    def variants(self) -> "dict[str, Variant]":
        """Return what is compared under each configuration, by name."""
        from cbpnet.study.plasticity import Variant

        plain = CBPConfig(0.0, self.maturity)
        return {
            "backpropagation alone": Variant(plain),
            **{
                f"CBP, rate {rate:g}": Variant(CBPConfig(rate, self.maturity))
                for rate in self.rates
            },
            "new block in every task": Variant(plain, "fresh"),
            "block never trained": Variant(plain, "frozen"),
        }


@click.command(
    epilog="""\b
Example, the figures of docs/plasticity.md:
  cbpnet-mobile plasticity --dataset cifar100 --data cifar-100-python.tar.xz \\
      --train-per-class 50 --test-per-class 20 --epochs 2 --seed 0 --seed 1 --seed 2
"""
)
@takes(
    dataset=DatasetOptions,
    sample=SampleOptions,
    backbone=BackboneOptions,
    lesson=LessonOptions,
    pairs=StreamOptions,
)
def plasticity(
    dataset: DatasetOptions,
    sample: SampleOptions,
    backbone: BackboneOptions,
    lesson: LessonOptions,
    pairs: StreamOptions,
) -> None:
    """Learn a long stream of two-class tasks with block and head alone, on frozen features.

    Reports the accuracy on each pair right after learning it, for backpropagation alone, for
    continual backpropagation, for a new block in every task and for a block that is never trained.
    """
    from cbpnet.study.plasticity import run_pairs
    from cbpnet.study.plasticity_report import PairStudy, format_studies, write_studies

    frozen = backbone.load()
    config = get_preset(backbone.preset).config("cbpnet")
    backbone.check(config, frozen)
    assert config.block is not None
    loaded = dataset.load()
    features = _features(frozen, config, loaded, sample)
    studies = []
    for regime in pairs.regimes(config.block.hidden, lesson):
        title = f"{regime.form}, step size {regime.lr:g}"
        with progress_bar(title, pairs.tasks, "task") as bar:
            runs = run_pairs(features, regime, pairs.variants(), pairs.seeds, bar.update)
        studies.append(PairStudy(regime, runs))
    conditions = {
        "dataset": loaded.name,
        **backbone.conditions(frozen),
        "training images a class": features.train.shape[1],
        "test images a class": features.test.shape[1],
        "tasks": pairs.tasks,
        "hidden units": pairs.hidden or config.block.hidden,
        **lesson.conditions(),
        "maturity": pairs.maturity,
        "seeds": " ".join(map(str, pairs.seeds)),
    }
    written = write_studies(studies, pairs.seeds, conditions, pairs.out)
    click.echo(format_studies(studies))
    click.echo(f"seeds: {', '.join(map(str, pairs.seeds))}")
    click.echo(f"wrote {len(written)} files to {pairs.out}; start with {pairs.out / 'table.md'}")


def _features(
    backbone: "Backbone", config: LearnerConfig, dataset: Dataset, sample: SampleOptions
) -> "PairFeatures":
    """Compute the frozen features, as many a class as the smallest class has."""
    import torch

    from cbpnet.method.eager import EagerLearner
    from cbpnet.method.learner import Learner
    from cbpnet.run.queries import query_stream
    from cbpnet.study.plasticity import PairFeatures

    classes = len(dataset.class_names)
    stream = make_stream(
        dataset, classes, sample.train_per_class, sample.test_per_class, IMAGE_SEED
    )
    print_notes(stream.notes)
    (task,) = stream.tasks
    learner = EagerLearner(Learner(backbone, config, classes, 1))
    with progress_bar("query features", len(task.train) + len(task.test)) as bar:
        queries = query_stream(learner, stream, backbone.preprocessing, bar.update)
    return PairFeatures(
        _by_class(*map(torch.from_numpy, (queries.train[0], task.train_labels))),
        _by_class(*map(torch.from_numpy, (queries.test[0], task.test_labels))),
    )


def _by_class(features: "Tensor", labels: "Tensor") -> "Tensor":
    """Return features [C, N, D] of as many images of each class as the smallest has."""
    import torch

    parts = [features[labels == label] for label in labels.unique()]
    smallest = min(map(len, parts))
    return torch.stack([part[:smallest] for part in parts])
