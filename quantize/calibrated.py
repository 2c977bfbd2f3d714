"""A trunk in static int8 made from images: smoothed, calibrated, and exact where it must be."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from quantize.sensitivity import Trial, keep_until
from quantize.smoothing import channel_maxima, smooth, smoothing_factors
from quantize.static_int8 import Prefixes, StaticRecipe, calibrate, roundable, static_trunk
from quantize.trunk import FrozenTrunk

__all__ = ["Calibrated", "calibrated_trunk"]

# SmoothQuant's own; and nearer than 0.99 the search gains little (docs/quantisation.md).
_SMOOTHING = 0.5
_TARGET = 0.99


@dataclass(frozen=True)
class Calibrated:
    """A static trunk, its recipe, and the features' mean cosine with fp32 where it was searched.

    ``smoothed`` is what was rounded: the trunk in fp32, with ranges that suit it.
    """

    trunk: FrozenTrunk
    smoothed: FrozenTrunk
    recipe: StaticRecipe
    cosine: float


def calibrated_trunk(
    trunk: FrozenTrunk,
    batches: Sequence[Tensor],
    passes: Sequence[Prefixes] = (None,),
    target: float = _TARGET,
) -> Calibrated:
    """Return a trunk whose linear layers compute in static int8, made from one in fp32.

    ``batches`` are normalised images, each taken once for each of ``passes``. Layers stay in fp32,
    the most sensitive first, until the features of the first batch have a mean cosine of ``target``
    with fp32's.

    Raises InputError where there is no image.
    """
    maxima = channel_maxima(trunk, batches, passes)
    smoothed = smooth(trunk, smoothing_factors(trunk, maxima, _SMOOTHING))
    ranges = calibrate(smoothed, batches, passes)
    names = roundable(smoothed, layers_only=True)
    trial = Trial(smoothed, ranges, batches[:1], passes)
    recipe = StaticRecipe({name: ranges[name] for name in names})
    found = trial.measure_recipe("all rounded", recipe)
    if found.cosine < target:
        recipe, steps = keep_until(trial, [trial.measure(name, [name]) for name in names], target)
        found = steps[-1]
    return Calibrated(static_trunk(smoothed, recipe), smoothed, recipe, found.cosine)
