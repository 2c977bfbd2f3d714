"""Options that several commands share, and what they build."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from cbpnet.backbone.presets import PRESETS, check_budget, count_trainables, get_preset
from cbpnet.data.catalogue import DATASETS, load_dataset
from cbpnet.data.dataset import Dataset
from cbpnet.data.stream import Holdout, TaskStream, make_stream
from cbpnet.host.errors import InputError
from cbpnet.host.text import printable
from cbpnet.method.config import LearnerConfig
from mobile.cli.option_groups import option
from mobile.cli.parameters import Choice, FilePath

if TYPE_CHECKING:
    from cbpnet.backbone.vit import Backbone
    from cbpnet.run.training import TrainingConfig

__all__ = [
    "BackboneOptions",
    "DatasetOptions",
    "LessonOptions",
    "OptionalDatasetOptions",
    "ProtocolOptions",
    "SampleOptions",
    "TaskOptions",
    "WeightsOptions",
    "print_json",
    "print_note",
    "print_notes",
]

_KINDS = {"type": Choice(list(DATASETS)), "help": "What kind of data set --data is."}


def print_notes(notes: Iterable[str]) -> None:
    """Say on standard error what a user should know of the images."""
    for note in notes:
        print_note(note)


def print_note(note: str) -> None:
    """Say a sentence on standard error."""
    click.echo(f"note: {printable(note)}", err=True)


def print_json(document: object, indent: int | None = 2) -> None:
    """Print a document as JSON, which knows neither NaN nor infinity.

    Raises:
        InputError: a figure is one of them.
    """
    try:
        text = json.dumps(document, indent=indent, allow_nan=False)
    except ValueError as error:
        raise InputError(
            "a figure is NaN or infinite, which no JSON holds; right would be a bundle and a state "
            "whose numbers are finite"
        ) from error
    click.echo(text)


@dataclass(frozen=True)
class OptionalDatasetOptions:
    """A data set, for a command that can do without."""

    dataset: str | None = option("--dataset", **_KINDS)
    data: Path | None = option(
        "--data",
        type=FilePath(),
        help="The data set's folder or archive; digits come with a library and need none.",
    )
    strict: bool = option(
        "--strict", is_flag=True, help="Fail on an unreadable image; default: skip it."
    )

    def load(self) -> Dataset:
        """Load the data set and print its notes."""
        if self.dataset is None:
            raise click.UsageError("name a data set: --dataset with --data")
        loaded = load_dataset(self.dataset, self.data, strict=self.strict)
        print_notes(loaded.notes)
        return loaded


@dataclass(frozen=True)
class DatasetOptions(OptionalDatasetOptions):
    """A data set."""

    dataset: str = option("--dataset", required=True, **_KINDS)


@dataclass(frozen=True)
class SampleOptions:
    """How many images of each class are used."""

    train_per_class: int | None = option(
        "--train-per-class", type=click.IntRange(min=1), help="Training images; default: all."
    )
    test_per_class: int | None = option(
        "--test-per-class", type=click.IntRange(min=1), help="Test images; default: all."
    )


@dataclass(frozen=True)
class TaskOptions(SampleOptions):
    """How a data set becomes tasks."""

    classes_per_task: int | None = option(
        "--classes-per-task", type=click.IntRange(min=1), help="Default: the data set's usual."
    )
    class_order: Literal["natural", "random"] = option(
        "--class-order",
        type=Choice(["natural", "random"]),
        default="natural",
        show_default=True,
        help="Random orders are drawn from the seed.",
    )

    def task_size(self, dataset: Dataset) -> int:
        """Return the number of classes in a task."""
        return self.classes_per_task or dataset.classes_per_task

    def stream(self, dataset: Dataset, seed: int, holdout: Holdout = "test") -> TaskStream:
        """Draw the tasks of a seed and print their notes."""
        stream = make_stream(
            dataset,
            self.task_size(dataset),
            self.train_per_class,
            self.test_per_class,
            seed,
            self.class_order,
            holdout,
        )
        print_notes(stream.notes)
        return stream


@dataclass(frozen=True)
class ProtocolOptions(TaskOptions):
    """How a data set becomes tasks, and which images methods are compared on."""

    holdout: Holdout = option(
        "--holdout",
        type=Choice(["test", "validation"]),
        default="test",
        show_default=True,
        help="Validation images are training images that no method trains on: tune on them.",
    )

    def conditions(self, dataset: Dataset) -> dict[str, object]:
        """Return what a report says of the images."""
        return {
            "classes a task": self.task_size(dataset),
            "training images a class": self.train_per_class or "all",
            "test images a class": self.test_per_class or "all",
            "evaluated on": self.holdout,
            "class order": self.class_order,
        }


@dataclass(frozen=True)
class LessonOptions:
    """How the images of a task are learnt."""

    epochs: int = option(
        "--epochs",
        type=click.IntRange(min=1),
        default=5,
        show_default=True,
        help="Passes over the images of a task.",
    )
    batch_size: int = option(
        "--batch-size", type=click.IntRange(min=1), default=10, show_default=True, help="Per step."
    )

    def training(self) -> "TrainingConfig":
        """Return the settings; gradients are computed for a whole batch at once."""
        from cbpnet.run.training import TrainingConfig

        return TrainingConfig(self.epochs, self.batch_size, self.batch_size)

    def conditions(self) -> dict[str, object]:
        """Return what a report says of the lessons."""
        return {"epochs": self.epochs, "batch": self.batch_size}


@dataclass(frozen=True)
class WeightsOptions:
    """The weights and the image size of a backbone, and the threads that it computes with."""

    weights: Path | None = option(
        "--weights",
        type=FilePath(dir_okay=False),
        help="The backbone's weights (safetensors, torch, .npz); default: downloaded by timm.",
    )
    image_size: int | None = option(
        "--image-size", type=click.IntRange(min=8), help="In pixels; default: the backbone's own."
    )
    threads: int | None = option(
        "--threads", type=click.IntRange(min=1), help="Default: torch's own choice."
    )

    def load_backbone(self, name: str, dtype: str = "float32") -> "Backbone":
        """Load a backbone by timm's name; it computes in a dtype by torch's name."""
        import torch

        from cbpnet.backbone.vit import load_backbone

        if self.threads is not None:
            torch.set_num_threads(self.threads)
        return load_backbone(name, self.weights, self.image_size, getattr(torch, dtype))


@dataclass(frozen=True)
class BackboneOptions(WeightsOptions):
    """A preset, its backbone and how that is used."""

    preset: str = option(
        "--preset",
        type=Choice(list(PRESETS)),
        default="vit_tiny",
        show_default=True,
        help="Backbone, sizes and rates; see `cbpnet-mobile presets`.",
    )
    crop_pct: float | None = option(
        "--crop-pct",
        type=click.FloatRange(0, 1, min_open=True),
        help="Share of the resized image's side that the centre crop keeps; default: the "
        "backbone's own.",
    )
    dtype: str = option(
        "--dtype",
        type=Choice(["float32", "bfloat16"]),
        default="float32",
        show_default=True,
        help="What the frozen backbone computes in; what is trained is always float32.",
    )
    budget: float | None = option(
        "--budget",
        type=click.FloatRange(0, 1, min_open=True),
        help="Largest share of the backbone that may be trained; default: the preset's.",
    )

    def load(self) -> "Backbone":
        """Load the preset's backbone as the options say."""
        backbone = self.load_backbone(get_preset(self.preset).backbone, self.dtype)
        if self.crop_pct is not None:
            backbone.preprocessing = replace(backbone.preprocessing, crop_pct=self.crop_pct)
        return backbone

    def check(self, config: LearnerConfig, backbone: "Backbone") -> None:
        """Raise `InputError` where a learner does not keep the budget on this backbone."""
        found = count_trainables(config, backbone.dim, backbone.parameters_without_head)
        limit = get_preset(self.preset).budget if self.budget is None else self.budget
        check_budget(found, limit)

    def conditions(self, backbone: "Backbone") -> dict[str, object]:
        """Return what a report says of the backbone."""
        return {
            "backbone": backbone.name,
            "image size": backbone.image_size,
            "crop": backbone.preprocessing.crop_pct,
            "dtype": self.dtype,
        }
