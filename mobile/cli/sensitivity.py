"""``cbpnet-mobile sensitivity``: what static int8 would destroy, and a recipe that keeps it."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click
import torch
from torch import Tensor
from tqdm import tqdm

from cbpnet.backbone.presets import choose_preset
from cbpnet.backbone.vit import Backbone, load_backbone
from cbpnet.data.catalogue import DATASETS
from cbpnet.data.dataset import Dataset
from cbpnet.data.preprocessing import load_batch, normalise
from cbpnet.data.sampling import generator
from cbpnet.host.errors import InputError
from cbpnet.method.initial import draw_state
from cbpnet.method.prompts import prefixes
from mobile.cli.options import read_dataset
from quantize.sensitivity import Sensitivity, Trial, by_kind, keep_until
from quantize.smoothing import channel_maxima, smooth, smoothing_factors
from quantize.static_int8 import Prefixes, StaticRecipe, calibrate, roundable
from quantize.trunk import FrozenTrunk

__all__ = ["sensitivity"]

_BATCH = 16
_SHOWN = 12
_ROW = "{:<36}{:>8}{:>9}"


@click.command(
    epilog="""\b
Example, the figures of docs/quantisation.md:
  cbpnet-mobile sensitivity --weights vit_tiny.safetensors --dataset cifar100 \\
      --data cifar-100-python.tar.xz --round all --threads 1
"""
)
@click.option("--backbone", default="vit_tiny_patch16_224", show_default=True, help="timm's name.")
@click.option(
    "--weights",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The backbone's weights (safetensors or torch); default: downloaded by timm.",
)
@click.option(
    "--image-size", type=click.IntRange(min=8), help="In pixels; default: the backbone's own."
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
@click.option(
    "--round",
    "scope",
    type=click.Choice(["layers", "all"]),
    default="layers",
    show_default=True,
    help="Linear layers alone, or their outputs and the residual stream too.",
)
@click.option(
    "--calibration",
    type=click.IntRange(min=1),
    default=64,
    show_default=True,
    help="Training images to take ranges from.",
)
@click.option(
    "--images",
    type=click.IntRange(min=1),
    default=32,
    show_default=True,
    help="Other images to measure on, and as many again to check the outcome.",
)
@click.option(
    "--smoothing",
    type=click.FloatRange(0, 1),
    default=0.5,
    show_default=True,
    help="How much of the inputs' range moves into the weights after a norm; 0 for none.",
)
@click.option(
    "--percentile",
    type=click.FloatRange(50, 100, min_open=True),
    default=100.0,
    show_default=True,
    help="Where ranges end; below 100 cuts outliers off.",
)
@click.option(
    "--keep",
    multiple=True,
    help='In fp32 from the start, for instance "blocks.7.fc2"; may be repeated.',
)
@click.option(
    "--search/--no-search",
    default=True,
    show_default=True,
    help="Look for what else to keep, or measure what --keep leaves.",
)
@click.option(
    "--target-cosine",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.99,
    show_default=True,
    help="Keep the worst in fp32 until the features' mean cosine with fp32 is this.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Draws images and prompts.",
)
@click.option("--threads", type=click.IntRange(min=1), help="Default: torch's own choice.")
@click.option("--json", "as_json", is_flag=True, help="Print all measurements and the recipe.")
def sensitivity(
    backbone: str,
    weights: Path | None,
    image_size: int | None,
    dataset: str,
    data: Path | None,
    strict: bool,
    scope: str,
    calibration: int,
    images: int,
    smoothing: float,
    percentile: float,
    keep: tuple[str, ...],
    search: bool,
    target_cosine: float,
    seed: int,
    threads: int | None,
    as_json: bool,
) -> None:
    """Find what a target with static int8 must keep in fp32.

    Rounds each linear layer of the frozen backbone alone, and with --round all each tensor between
    them, and compares the features with fp32's, without prompts and with random ones. Then keeps
    the worst in fp32 until the features are near enough.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    model = load_backbone(backbone, weights, image_size)
    trunk = FrozenTrunk(model, "fp32")
    loaded = read_dataset(dataset, data, strict)
    calibrating, measuring, checking = _draw(loaded, model, [calibration, images, images], seed)
    passes = [None, _random_prompts(model, seed)]
    if smoothing:
        maxima = channel_maxima(trunk, calibrating, passes)
        trunk = smooth(trunk, smoothing_factors(trunk, maxima, smoothing))
    ranges = calibrate(trunk, calibrating, passes, percentile)
    trial = Trial(trunk, ranges, measuring, passes)
    names = _without(roundable(trunk, layers_only=scope == "layers"), keep)

    kinds, alone = [], []
    if search:
        kinds = [trial.measure(kind, members) for kind, members in by_kind(names).items()]
        bar = tqdm(names, desc="rounding one alone", unit="tensor", mininterval=1.0)
        alone = sorted((trial.measure(name, [name]) for name in bar), key=lambda each: each.sqnr)
        recipe, steps = keep_until(trial, alone, target_cosine)
    else:
        recipe = StaticRecipe({name: ranges[name] for name in names})
        steps = [trial.measure_recipe("all rounded", recipe)]
    recipe = replace(recipe, keep_fp32=(*keep, *recipe.keep_fp32))
    check = Trial(trunk, ranges, checking, passes).measure_recipe("other images", recipe)

    if as_json:
        click.echo(json.dumps(_document(recipe, kinds, alone, steps, check), indent=2))
        return
    if search:
        _print_table("all of a kind", kinds)
        _print_table(f"the worst of {len(alone)}, each alone", alone[:_SHOWN])
    _print_table("kept in fp32, one after another", steps)
    _print_table("the recipe on other images", [check])
    click.echo(f"{len(recipe.keep_fp32)} of {len(names) + len(keep)} stay in fp32; seed {seed}")


def _without(names: Sequence[str], keep: Sequence[str]) -> list[str]:
    for name in keep:
        if name not in names:
            raise InputError(
                f"--keep {name}: nothing of that name is rounded; right would be one of "
                f"{', '.join(names[:4])} and so on"
            )
    return [name for name in names if name not in keep]


def _draw(
    dataset: Dataset, backbone: Backbone, counts: Sequence[int], seed: int
) -> list[list[Tensor]]:
    """Draw disjoint sets of training images, each as normalised batches."""
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
        sets.append([normalise(each, preprocessing.mean, preprocessing.std) for each in batches])
    return sets


def _random_prompts(backbone: Backbone, seed: int) -> Prefixes:
    """Return the prefixes of prompts that have learnt nothing."""
    preset = choose_preset(backbone.name, backbone.dim, backbone.parameters_without_head)
    config = preset.config
    state = draw_state(config, backbone.dim, 1, 1, torch.Generator().manual_seed(seed))
    return prefixes(
        state["prompts.g"], state["prompts.e"], config.prompts.g_layers, config.prompts.e_layers
    )


def _print_table(title: str, rows: Sequence[Sensitivity]) -> None:
    click.echo(_ROW.format(title, "cosine", "SQNR dB"))
    for row in rows:
        click.echo(_ROW.format(f"  {row.name}", f"{row.cosine:.4f}", f"{row.sqnr:.1f}"))
    click.echo()


def _document(
    recipe: StaticRecipe,
    kinds: Sequence[Sensitivity],
    alone: Sequence[Sensitivity],
    steps: Sequence[Sensitivity],
    check: Sensitivity,
) -> dict[str, Any]:
    tensors = {
        name: {**asdict(found), "scale": found.scale, "zero_point": found.zero_point}
        for name, found in recipe.ranges.items()
    }
    return {
        "kinds": [_measured(each) for each in kinds],
        "alone": [_measured(each) for each in alone],
        "steps": [_measured(each) for each in steps],
        "check": _measured(check),
        "recipe": {"ranges": tensors, "keep_fp32": list(recipe.keep_fp32)},
    }


def _measured(found: Sensitivity) -> dict[str, Any]:
    """Return a measurement as JSON takes it, which knows no infinity: null for equal features."""
    return {**asdict(found), "sqnr": found.sqnr if math.isfinite(found.sqnr) else None}
