"""Options that several commands share, and what they build."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import torch

from cbpnet.backbone.presets import PRESETS, check_budget, count_trainables, get_preset
from cbpnet.data.catalogue import DATASETS, load_dataset
from cbpnet.data.dataset import Dataset
from cbpnet.method.config import LearnerConfig

if TYPE_CHECKING:
    from cbpnet.backbone.vit import Backbone

__all__ = [
    "build_backbone",
    "build_config",
    "dataset_options",
    "holdout_option",
    "learner_options",
    "optional_dataset_options",
    "read_dataset",
]

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def _together(*options: Decorator) -> Decorator:
    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def _dataset_option(required: bool) -> Decorator:
    return click.option(
        "--dataset",
        type=click.Choice(list(DATASETS)),
        required=required,
        help="What kind of data set --data is.",
    )


_data_options = _together(
    click.option(
        "--data",
        type=click.Path(path_type=Path),
        help="The data set's folder or archive; digits come with a library and need none.",
    ),
    click.option("--strict", is_flag=True, help="Fail on an unreadable image; default: skip it."),
    click.option(
        "--classes-per-task", type=click.IntRange(min=1), help="Default: the data set's usual."
    ),
    click.option(
        "--train-per-class", type=click.IntRange(min=1), help="Training images; default: all."
    ),
    click.option("--test-per-class", type=click.IntRange(min=1), help="Test images; default: all."),
    click.option(
        "--class-order",
        type=click.Choice(["natural", "random"]),
        default="natural",
        show_default=True,
        help="Random orders are drawn from the seed.",
    ),
)

dataset_options = _together(_dataset_option(required=True), _data_options)
optional_dataset_options = _together(_dataset_option(required=False), _data_options)

holdout_option = click.option(
    "--holdout",
    type=click.Choice(["test", "validation"]),
    default="test",
    show_default=True,
    help="Validation images are training images that no method trains on: tune on them.",
)

learner_options = _together(
    click.option(
        "--preset",
        type=click.Choice(list(PRESETS)),
        default="vit_tiny",
        show_default=True,
        help="Backbone, sizes and rates; see `cbpnet-mobile presets`.",
    ),
    click.option(
        "--weights",
        type=click.Path(path_type=Path),
        help="The backbone's weights (safetensors or torch); default: downloaded by timm.",
    ),
    click.option(
        "--image-size", type=click.IntRange(min=8), help="In pixels; default: the backbone's own."
    ),
    click.option(
        "--crop-pct",
        type=click.FloatRange(0, 1, min_open=True),
        help="Share of the resized image's side that the centre crop keeps; default: the "
        "backbone's own.",
    ),
    click.option(
        "--dtype",
        type=click.Choice(list(DTYPES)),
        default="float32",
        show_default=True,
        help="What the frozen backbone computes in; what is trained is always float32.",
    ),
    click.option(
        "--epochs", type=click.IntRange(min=1), default=5, show_default=True, help="Per task."
    ),
    click.option(
        "--batch-size", type=click.IntRange(min=1), default=10, show_default=True, help="Per step."
    ),
    click.option(
        "--budget",
        type=click.FloatRange(0, 1, min_open=True),
        help="Largest share of the backbone that may be trained; default: the preset's.",
    ),
    click.option("--threads", type=click.IntRange(min=1), help="Default: torch's own choice."),
)


def read_dataset(dataset: str, data: Path | None, strict: bool) -> Dataset:
    """Load a data set and print its notes."""
    loaded = load_dataset(dataset, data, strict=strict)
    for note in loaded.notes:
        click.echo(f"note: {note}", err=True)
    return loaded


def build_backbone(
    preset: str,
    weights: Path | None,
    image_size: int | None,
    crop_pct: float | None,
    dtype: str,
    threads: int | None,
) -> "Backbone":
    """Load the preset's backbone as the options say."""
    from cbpnet.backbone.vit import load_backbone  # with timm, which a device does not have

    if threads is not None:
        torch.set_num_threads(threads)
    backbone = load_backbone(get_preset(preset).backbone, weights, image_size, DTYPES[dtype])
    if crop_pct is not None:
        backbone.preprocessing = replace(backbone.preprocessing, crop_pct=crop_pct)
    return backbone


def build_config(preset: str, backbone: "Backbone", budget: float | None) -> LearnerConfig:
    """Return the preset's configuration, within the budget on this backbone."""
    chosen = get_preset(preset)
    found = count_trainables(chosen.config, backbone.dim, backbone.parameters_without_head)
    check_budget(found, chosen.budget if budget is None else budget)
    return chosen.config
