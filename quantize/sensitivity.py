"""Which layers and tensors static int8 destroys, and so must stay in fp32."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cbpnet.host.errors import InputError
from quantize.distance import mean_cosine, sqnr_db
from quantize.static_int8 import Prefixes, StaticRecipe, TensorRange, static_trunk
from quantize.trunk import FrozenTrunk

__all__ = ["Sensitivity", "Trial", "by_kind", "keep_until"]


@dataclass(frozen=True)
class Sensitivity:
    """What rounding something does to the features: mean cosine with fp32's, and SQNR in dB.

    Several features of an image are taken as one vector.
    """

    name: str
    cosine: float
    sqnr: float


class Trial:
    """Compares static trunks with the fp32 one on the same images.

    ``batches`` are normalised images; each is taken once for each of ``passes``.
    """

    def __init__(
        self,
        trunk: FrozenTrunk,
        ranges: Mapping[str, TensorRange],
        batches: Sequence[Tensor],
        passes: Sequence[Prefixes] = (None,),
    ) -> None:
        self.trunk, self.ranges = trunk, ranges
        self.batches, self.passes = batches, passes
        self.exact = self._features(trunk)

    def measure(self, name: str, rounded: Iterable[str]) -> Sensitivity:
        """Round only the named layers and tensors."""
        return self.measure_recipe(
            name, StaticRecipe({each: self.ranges[each] for each in rounded})
        )

    def measure_recipe(self, name: str, recipe: StaticRecipe) -> Sensitivity:
        """Round as a recipe says."""
        found = self._features(static_trunk(self.trunk, recipe))
        return Sensitivity(name, mean_cosine(self.exact, found), sqnr_db(self.exact, found))

    def _features(self, trunk: FrozenTrunk) -> Tensor:
        with torch.no_grad():
            return torch.cat(
                [
                    torch.cat(trunk.parts(images, given, trunk.features), dim=1)
                    for images in self.batches
                    for given in self.passes
                ]
            )


def by_kind(names: Iterable[str]) -> dict[str, list[str]]:
    """Return names in groups of all blocks: "fc2" holds "blocks.0.fc2", "blocks.1.fc2", ..."""
    groups: dict[str, list[str]] = {}
    for name in names:
        kind = name.split(".", 2)[2] if name.startswith("blocks.") else name
        groups.setdefault(kind, []).append(name)
    return groups


def keep_until(
    trial: Trial,
    alone: Sequence[Sensitivity],
    target: float,
    progress: Callable[[Sensitivity], object] = lambda step: None,
) -> tuple[StaticRecipe, list[Sensitivity]]:
    """Keep the worst in fp32, one after another, until the features' mean cosine is ``target``.

    ``alone`` are all the names to round, each measured alone. Returns the recipe and what was
    measured on the way: the first step rounds all, each later one is named for what it keeps.

    Raises InputError for a target outside (0, 1).
    """
    if not 0 < target < 1:
        raise InputError(f"target cosine {target} must lie between 0 and 1")
    ranges = {each.name: trial.ranges[each.name] for each in alone}
    recipe = StaticRecipe(ranges)
    steps = [trial.measure_recipe("all rounded", recipe)]
    for worst in sorted(alone, key=lambda each: each.sqnr):
        progress(steps[-1])
        if steps[-1].cosine >= target:
            break
        recipe = StaticRecipe(ranges, (*recipe.keep_fp32, worst.name))
        steps.append(trial.measure_recipe(worst.name, recipe))
    return recipe, steps
