"""``cbpnet-mobile sensitivity``: what static int8 would destroy, and a recipe that keeps it."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import click

from cbpnet.backbone.presets import choose_preset
from cbpnet.data.dataset import Dataset
from cbpnet.data.sampling import generator
from cbpnet.host.errors import InputError
from cbpnet.host.progress import with_progress
from cbpnet.host.tables import plain_table
from cbpnet.host.text import listed
from mobile.cli.option_groups import option, takes
from mobile.cli.options import DatasetOptions, WeightsOptions
from mobile.cli.parameters import Choice

if TYPE_CHECKING:
    from torch import Tensor

    from cbpnet.backbone.vit import Backbone
    from quantize.sensitivity import Sensitivity, Trial
    from quantize.static_int8 import Prefixes, StaticRecipe

__all__ = ["sensitivity"]

_BATCH = 16
_SHOWN = 12


@dataclass(frozen=True)
class NamedBackboneOptions(WeightsOptions):
    """A backbone by timm's name."""

    backbone: str = option(
        "--backbone", default="vit_tiny_patch16_224", show_default=True, help="timm's name."
    )


@dataclass(frozen=True)
class RoundingOptions:
    """What is rounded, by which ranges, and on which images that is measured."""

    scope: str = option(
        "--round",
        type=Choice(["layers", "all"]),
        default="layers",
        show_default=True,
        help="Linear layers alone, or their outputs and the residual stream too.",
    )
    calibration: int = option(
        "--calibration",
        type=click.IntRange(min=1),
        default=64,
        show_default=True,
        help="Training images to take ranges from.",
    )
    images: int = option(
        "--images",
        type=click.IntRange(min=1),
        default=32,
        show_default=True,
        help="Other images to measure on, and as many again to check the outcome.",
    )
    smoothing: float = option(
        "--smoothing",
        type=click.FloatRange(0, 1),
        default=0.5,
        show_default=True,
        help="How much of the inputs' range moves into the weights after a norm; 0 for none.",
    )
    percentile: float = option(
        "--percentile",
        type=click.FloatRange(50, 100, min_open=True),
        default=100.0,
        show_default=True,
        help="Where ranges end; below 100 cuts outliers off.",
    )
    seed: int = option(
        "--seed",
        type=click.IntRange(min=0),
        default=0,
        show_default=True,
        help="Draws images and prompts.",
    )

    def trials(self, backbone: "Backbone", dataset: Dataset) -> "tuple[Trial, Trial, list[str]]":
        """Return the trials on two sets of images, and the names of all that can be rounded."""
        from quantize.sensitivity import Trial
        from quantize.smoothing import channel_maxima, smooth, smoothing_factors
        from quantize.static_int8 import calibrate, roundable
        from quantize.trunk import FrozenTrunk

        counts = [self.calibration, self.images, self.images]
        calibrating, measuring, checking = _draw(dataset, backbone, counts, self.seed)
        passes = [None, _random_prompts(backbone, self.seed)]
        trunk = FrozenTrunk(backbone, "fp32")
        if self.smoothing:
            maxima = channel_maxima(trunk, calibrating, passes)
            trunk = smooth(trunk, smoothing_factors(trunk, maxima, self.smoothing))
        ranges = calibrate(trunk, calibrating, passes, self.percentile)
        names = roundable(trunk, layers_only=self.scope == "layers")
        return (
            Trial(trunk, ranges, measuring, passes),
            Trial(trunk, ranges, checking, passes),
            list(names),
        )


@dataclass(frozen=True)
class RecipeOptions:
    """What stays in fp32: named, or found."""

    keep: tuple[str, ...] = option(
        "--keep",
        multiple=True,
        help='In fp32 from the start, for instance "blocks.7.fc2"; may be repeated.',
    )
    search: bool = option(
        "--search/--no-search",
        default=True,
        show_default=True,
        help="Look for what else to keep, or measure what --keep leaves.",
    )
    target_cosine: float = option(
        "--target-cosine",
        type=click.FloatRange(0, 1, min_open=True, max_open=True),
        default=0.99,
        show_default=True,
        help="Keep the worst in fp32 until the features' mean cosine with fp32 is this.",
    )

    def rounded(self, names: Sequence[str]) -> list[str]:
        """Return the names without those to keep. Raises `InputError` for one that is not there."""
        for name in self.keep:
            if name not in names:
                raise InputError(
                    f"--keep {name}: nothing of that name is rounded; right would be one of "
                    f"{listed(names, most=4)}"
                )
        return [name for name in names if name not in self.keep]


@dataclass(frozen=True)
class _Findings:
    """Measurements of kinds and of single tensors, of what was then kept, and on other images."""

    kinds: Sequence["Sensitivity"]
    alone: Sequence["Sensitivity"]
    steps: Sequence["Sensitivity"]
    check: "Sensitivity"
    recipe: "StaticRecipe"


@click.command(
    epilog="""\b
Example, the figures of docs/quantisation.md:
  cbpnet-mobile sensitivity --weights vit_tiny.safetensors --dataset cifar100 \\
      --data cifar-100-python.tar.xz --round all --threads 1
"""
)
@takes(
    backbone=NamedBackboneOptions,
    dataset=DatasetOptions,
    rounding=RoundingOptions,
    kept=RecipeOptions,
)
@click.option("--json", "as_json", is_flag=True, help="Print all measurements and the recipe.")
def sensitivity(
    backbone: NamedBackboneOptions,
    dataset: DatasetOptions,
    rounding: RoundingOptions,
    kept: RecipeOptions,
    as_json: bool,
) -> None:
    """Find what a target with static int8 must keep in fp32.

    Rounds each linear layer of the frozen backbone alone, and with --round all each tensor between
    them, and compares the features with fp32's, without prompts and with random ones. Then keeps
    the worst in fp32 until the features are near enough.
    """
    frozen = backbone.load_backbone(backbone.backbone)
    trial, other_images, names = rounding.trials(frozen, dataset.load())
    found = _find(trial, other_images, kept.rounded(names), kept)
    if as_json:
        click.echo(json.dumps(_document(found), indent=2))
        return
    if kept.search:
        _print_table("all of a kind", found.kinds)
        _print_table(f"the worst of {len(found.alone)}, each alone", found.alone[:_SHOWN])
    _print_table("kept in fp32, one after another", found.steps)
    _print_table("the recipe on other images", [found.check])
    click.echo(f"{len(found.recipe.keep_fp32)} of {len(names)} stay in fp32; seed {rounding.seed}")


def _find(
    trial: "Trial", other_images: "Trial", names: Sequence[str], kept: RecipeOptions
) -> _Findings:
    """Measure, and find a recipe where that is asked for."""
    from quantize.sensitivity import by_kind, keep_until
    from quantize.static_int8 import StaticRecipe

    kinds: list[Sensitivity] = []
    alone: list[Sensitivity] = []
    if kept.search:
        kinds = [trial.measure(kind, members) for kind, members in by_kind(names).items()]
        each = with_progress(names, "rounding one alone", "tensor")
        alone = sorted((trial.measure(name, [name]) for name in each), key=lambda one: one.sqnr)
        recipe, steps = keep_until(trial, alone, kept.target_cosine)
    else:
        recipe = StaticRecipe({name: trial.ranges[name] for name in names})
        steps = [trial.measure_recipe("all rounded", recipe)]
    recipe = replace(recipe, keep_fp32=(*kept.keep, *recipe.keep_fp32))
    check = other_images.measure_recipe("other images", recipe)
    return _Findings(kinds, alone, steps, check, recipe)


def _draw(
    dataset: Dataset, backbone: "Backbone", counts: Sequence[int], seed: int
) -> "list[list[Tensor]]":
    """Draw disjoint sets of training images, each as normalised batches."""
    from cbpnet.data.pixels import load_batch, normalise
    from cbpnet.method.tensors import tensor_of

    source, preprocessing = dataset.train, backbone.preprocessing
    if sum(counts) > len(source):
        raise InputError(
            f"{dataset.name} has {len(source)} training images; {sum(counts)} are asked for "
            "(--calibration and twice --images)"
        )
    order = generator(seed, "static int8").permutation(len(source)).tolist()
    sets = []
    for count in counts:
        chosen, order = order[:count], order[count:]
        parts = [chosen[start : start + _BATCH] for start in range(0, count, _BATCH)]
        batches = [load_batch(source, part, preprocessing) for part in parts]
        shown = [normalise(each, preprocessing.mean, preprocessing.std) for each in batches]
        sets.append([tensor_of(each) for each in shown])
    return sets


def _random_prompts(backbone: "Backbone", seed: int) -> "Prefixes":
    """Return the prefixes of prompts that have learnt nothing."""
    from cbpnet.host.random_streams import RandomStream
    from cbpnet.method.initial import draw_state
    from cbpnet.method.prompts import prefixes
    from cbpnet.method.tensors import as_tensors

    preset = choose_preset(
        backbone.name, backbone.dim, backbone.depth, backbone.parameters_without_head
    )
    config = preset.config("cbpnet")
    state = as_tensors(draw_state(config, backbone.dim, 1, 1, RandomStream(seed, 0)))
    return prefixes(
        state["prompts.g"], state["prompts.e"], config.prompts.g_layers, config.prompts.e_layers
    )


def _print_table(title: str, measured: Sequence["Sensitivity"]) -> None:
    rows = [[each.name, f"{each.cosine:.4f}", f"{each.sqnr:.1f}"] for each in measured]
    click.echo(f"{plain_table((title, 'cosine', 'SQNR dB'), rows)}\n")


def _document(found: _Findings) -> dict[str, Any]:
    tensors = {
        name: {**asdict(each), "scale": each.scale, "zero_point": each.zero_point}
        for name, each in found.recipe.ranges.items()
    }
    return {
        "kinds": [_measured(each) for each in found.kinds],
        "alone": [_measured(each) for each in found.alone],
        "steps": [_measured(each) for each in found.steps],
        "check": _measured(found.check),
        "recipe": {"ranges": tensors, "keep_fp32": list(found.recipe.keep_fp32)},
    }


def _measured(found: "Sensitivity") -> dict[str, Any]:
    """Return a measurement as JSON takes it, which knows no infinity: null for equal features."""
    return {**asdict(found), "sqnr": found.sqnr if math.isfinite(found.sqnr) else None}
