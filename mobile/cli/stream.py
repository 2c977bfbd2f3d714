"""``cbpnet-mobile stream``: does a learner that adapts for many lessons still learn the next?"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cbpnet.backbone.presets import get_preset
from cbpnet.data.catalogue import DATASETS, load_dataset
from cbpnet.data.dataset import Dataset
from mobile.cli.learner_options import FeatureOptions, TrainingOptions
from mobile.cli.option_groups import option, takes
from mobile.cli.options import BackboneOptions, print_notes
from mobile.cli.parameters import FilePath

if TYPE_CHECKING:
    from cbpnet.study.long_stream import LongStreamProtocol, StreamContender

__all__ = ["stream"]


def _data_sets(
    context: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> tuple[tuple[str, Path | None], ...]:
    """Return data sets by kind and path, from "cifar100=PATH"; "digits" has no path."""
    found = []
    for value in values:
        kind, _, path = value.partition("=")
        if kind not in DATASETS:
            raise click.BadParameter(
                f"{kind!r} is no kind of data set; right would be {', '.join(DATASETS)}"
            )
        found.append((kind, Path(path) if path else None))
    return tuple(found)


@dataclass(frozen=True)
class StreamOptions:
    """The lessons, who learns them, and where the report goes."""

    data: tuple[tuple[str, Path | None], ...] = option(
        "--data",
        metavar="KIND[=PATH]",
        callback=_data_sets,
        multiple=True,
        required=True,
        help="A data set; repeated, lessons come from each in turns.",
    )
    lessons: int = option(
        "--lessons", type=click.IntRange(min=5), default=60, show_default=True, help="How many."
    )
    classes: tuple[int, int] = option(
        "--classes",
        type=(click.IntRange(min=2), click.IntRange(min=2)),
        default=(2, 5),
        show_default=True,
        help="Fewest and most classes of a lesson.",
    )
    train_per_class: int = option(
        "--train-per-class",
        type=click.IntRange(min=1),
        default=20,
        show_default=True,
        help="Training images of a class in a lesson; the next lesson with it has others.",
    )
    test_per_class: int = option(
        "--test-per-class",
        type=click.IntRange(min=1),
        default=10,
        show_default=True,
        help="Test images, at most.",
    )
    rates: tuple[float, ...] = option(
        "--rate",
        type=click.FloatRange(0, 1, min_open=True),
        multiple=True,
        default=(1e-4, 1e-3, 1e-2),
        show_default=True,
        help="Replacement rates of prompt tokens, beside none.",
    )
    maturity: int = option(
        "--maturity",
        type=click.IntRange(min=0),
        default=100,
        show_default=True,
        help="Age in steps that a token must exceed before it can be replaced.",
    )
    chosen: tuple[str, ...] = option(
        "--contender",
        metavar="NAME",
        multiple=True,
        help="One of the table's, such as auto or always+cbp-0.01; default: all.",
    )
    running_every: int = option(
        "--running-every",
        type=click.IntRange(min=1),
        default=10,
        show_default=True,
        help="After how many lessons all classes so far are tested.",
    )
    seeds: tuple[int, ...] = option(
        "--seed",
        type=click.IntRange(min=0),
        multiple=True,
        default=(0, 1, 2),
        show_default=True,
        help="Draws lessons, images and prompts; may be repeated.",
    )
    out: Path = option(
        "--out",
        type=FilePath(file_okay=False),
        default=Path("runs/stream"),
        show_default=True,
        help="Folder for the report; finished runs in it are not run again.",
    )

    def load(self) -> list[Dataset]:
        """Load the data sets and print their notes."""
        loaded = [load_dataset(kind, path) for kind, path in self.data]
        for dataset in loaded:
            print_notes(dataset.notes)
        return loaded

    def protocol(self) -> "LongStreamProtocol":
        """Return what all contenders share."""
        from cbpnet.study.long_stream import LongStreamProtocol

        return LongStreamProtocol(
            self.lessons,
            self.classes,
            self.train_per_class,
            self.test_per_class,
            self.running_every,
        )

    def contenders(self) -> "dict[str, StreamContender]":
        """Return who is compared, by name."""
        from cbpnet.study.long_stream import stream_contenders

        known = stream_contenders(self.rates)
        for name in self.chosen:
            if name not in known:
                raise click.BadParameter(
                    f"{name!r} is no contender; right would be {', '.join(known)}",
                    param_hint="--contender",
                )
        return {name: one for name, one in known.items() if name in self.chosen or not self.chosen}

    def conditions(self, datasets: Sequence[Dataset]) -> dict[str, object]:
        """Return what a report says of the stream."""
        return {
            "data sets": " ".join(dataset.name for dataset in datasets),
            "lessons": self.lessons,
            "classes a lesson": "{} to {}".format(*self.classes),
            "training images a class": self.train_per_class,
            "test images a class": self.test_per_class,
            "maturity": self.maturity,
        }


@click.command(
    epilog="""\b
Example:
  cbpnet-mobile stream --data cifar100=cifar-100-python.tar.xz \\
      --data folder=gtsrb_43.tar --data folder=clothing_10.tar
"""
)
@takes(
    backbone=BackboneOptions,
    features=FeatureOptions,
    training=TrainingOptions,
    lessons=StreamOptions,
)
def stream(
    backbone: BackboneOptions,
    features: FeatureOptions,
    training: TrainingOptions,
    lessons: StreamOptions,
) -> None:
    """Learn a long stream of small lessons whose domain changes, and report what is still learnt.

    Compares learners that never adapt their prompt, on the first lesson, on foreign ones or always,
    with and without continual backpropagation of prompt tokens, with a new prompt for every lesson,
    and with all images counted anew after each.
    """
    from cbpnet.study.long_stream import run_long_stream
    from cbpnet.study.long_stream_report import format_long_stream, write_long_stream

    compared, protocol = lessons.contenders(), lessons.protocol()
    frozen = backbone.load()
    config = features.counting(get_preset(backbone.preset).config())
    config = replace(config, cbp=replace(config.cbp, maturity=lessons.maturity))
    backbone.check(config, frozen)
    datasets, seeds = lessons.load(), tuple(dict.fromkeys(lessons.seeds))
    notes = (note for seed in seeds for note in protocol.stream(datasets, seed).notes)
    print_notes(dict.fromkeys(notes))
    conditions = {
        **lessons.conditions(datasets),
        **backbone.conditions(frozen),
        "features": ", ".join(config.features),
        **training.conditions(),
    }
    runs = run_long_stream(
        frozen,
        datasets,
        protocol,
        config,
        training.training(config),
        compared,
        seeds,
        lessons.out,
        conditions,
    )
    written = write_long_stream(compared, runs, seeds, conditions, lessons.out)
    click.echo(format_long_stream(compared, runs))
    click.echo(f"seeds: {', '.join(map(str, seeds))}")
    click.echo(f"wrote {len(written)} files to {lessons.out}; start with {written[0]}")
