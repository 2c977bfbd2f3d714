"""The options of `export` in groups, without what takes seconds to import."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cbpnet.host.errors import InputError
from mobile.cli.option_groups import option
from mobile.cli.parameters import Choice, FilePath
from mobile.targets.catalogue import TARGETS
from mobile.targets.resolved import ResolvedTarget, resolve_target

if TYPE_CHECKING:
    from quantize.frozen_linear import Precision

__all__ = [
    "CLASSES",
    "TASKS",
    "BackboneOptions",
    "PhotoOptions",
    "StateOptions",
    "TargetOptions",
]

CLASSES, TASKS = 100, 20  # the least capacity where none is asked for

_FILE = FilePath(dir_okay=False)
_FOLDER = FilePath(file_okay=False)
_SHARE = click.FloatRange(0, 1, min_open=True)


@dataclass(frozen=True)
class TargetOptions:
    """What a bundle is to run on, and in which precision."""

    target: str = option(
        "--target",
        type=Choice(list(TARGETS)),
        required=True,
        help="What it is to run on; see `cbpnet-mobile targets`.",
    )
    options: Sequence[str] = option(
        "--option",
        multiple=True,
        metavar="NAME=VALUE",
        help="One of the target's own options; see `cbpnet-mobile targets`; may be repeated.",
    )
    precision: "Precision" = option(
        "--precision",
        type=Choice(["int8", "fp32"]),
        default="int8",
        show_default=True,
        help="Of the frozen backbone; what learns is always fp32.",
    )

    def resolve(self) -> ResolvedTarget:
        """Return the target. Raises InputError as `resolve_target`, or for no NAME=VALUE."""
        found = {}
        for each in self.options:
            name, equals, value = each.partition("=")
            if not equals:
                raise InputError(f"--option {each} is no NAME=VALUE, such as device=NPU")
            found[name] = value
        return resolve_target(self.target, self.precision, found)


@dataclass(frozen=True)
class BackboneOptions:
    """What learns stands on, and what it sees of an image."""

    backbone: str | None = option(
        "--backbone",
        help="timm's name of a vision transformer; default: the state's, or vit_tiny_patch16_224.",
    )
    weights: Path | None = option(
        "--weights",
        type=_FILE,
        help="The backbone's weights (safetensors, torch, .npz); default: downloaded by timm.",
    )
    image_size: int | None = option(
        "--image-size",
        type=click.IntRange(min=8),
        help="In pixels; default: the state's, or the backbone's own.",
    )
    crop_pct: float | None = option(
        "--crop-pct",
        type=_SHARE,
        help="Share of the resized image's side that the centre crop keeps; default: the state's, "
        "or the backbone's own.",
    )
    budget: float | None = option(
        "--budget",
        type=_SHARE,
        help="Largest share of the backbone that may be trained; default: the preset's.",
    )


@dataclass(frozen=True)
class StateOptions:
    """What a bundle knows at the start, and the room that it has."""

    state: Path | None = option(
        "--state",
        type=_FILE,
        help="Start from what a server learnt (`train --out`); default: from nothing.",
    )
    labels: Path | None = option(
        "--labels",
        type=_FILE,
        help="A text file with one label a line, to rename the classes that --state knows.",
    )
    classes: int | None = option(
        "--classes",
        type=click.IntRange(min=1),
        help=f"Capacity in classes; default: {CLASSES}, or twice what --state knows if that is "
        "more.",
    )
    tasks: int | None = option(
        "--tasks",
        type=click.IntRange(min=1),
        help=f"CBPNet's capacity in tasks; default: {TASKS}, or twice what --state knows if that "
        "is more.",
    )
    seed: int = option(
        "--seed",
        type=click.IntRange(min=0),
        default=0,
        show_default=True,
        help="Draws a new state.",
    )


@dataclass(frozen=True)
class PhotoOptions:
    """Folders of class folders with real images."""

    calibration: Path | None = option(
        "--calibration",
        type=_FOLDER,
        help="A folder of class folders: a target of static int8 takes its ranges from these "
        "images.",
    )
    images: Path | None = option(
        "--images",
        type=_FOLDER,
        help="A folder of class folders: report on these images how far the bundle is from fp32.",
    )
