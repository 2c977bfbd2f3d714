"""Continual backpropagation: re-initialise a layer's least useful mature units.

Dohare et al., "Loss of plasticity in deep continual learning", Nature 2024, algorithm 1, for any
number of hidden layers side by side. It runs after the optimiser's step and clears the optimiser's
moments of every weight that it touches; the published layer form resets before the step and leaves
the moments stale.

Everything is a masked tensor expression of fixed shape, so that it can be exported: the number of
replacements in one step is bounded by ``max_replacements``, and the random numbers come from
outside.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from cbpnet.method.config import CBPConfig

__all__ = ["UnitStatistics", "age_units", "corrected_utility", "select_units"]


@dataclass(frozen=True)
class UnitStatistics:
    """What continual backpropagation remembers of L layers of H units.

    ``utility`` [L, H] is the running average of the contribution utility, ``age`` [L, H] the steps
    since (re-)initialisation, ``accumulator`` [L] the fraction of a replacement that is due.
    """

    utility: Tensor
    age: Tensor
    accumulator: Tensor


def age_units(
    statistics: UnitStatistics, contribution: Tensor, config: CBPConfig
) -> UnitStatistics:
    """Return the statistics after one more step: ages, utilities and the accumulator.

    ``contribution`` [L, H] is the units' mean over the batch, of a hidden unit
    ``|h| sum_k |w_out[k]|``. ``u <- decay u + (1 - decay) contribution``.
    """
    age = statistics.age + 1
    utility = config.decay * statistics.utility + (1 - config.decay) * contribution
    mature = (age > config.maturity).to(utility.dtype)
    accumulator = statistics.accumulator + config.replacement_rate * mature.sum(dim=-1)
    return UnitStatistics(utility, age, accumulator)


def corrected_utility(statistics: UnitStatistics, config: CBPConfig) -> Tensor:
    """Return the bias-corrected utility ``u / (1 - decay^age)`` [L, H]; 0 for a unit of age 0."""
    weight = 1 - config.decay**statistics.age
    return statistics.utility / torch.where(statistics.age > 0, weight, torch.ones_like(weight))


def select_units(
    statistics: UnitStatistics, config: CBPConfig
) -> tuple[list[Tensor], UnitStatistics]:
    """Choose the units to replace now, the least useful mature ones first.

    Returns one 0/1 mask [L, H] for each possible replacement, in order (at most one unit a layer,
    none where nothing is due), and the statistics with the chosen units at utility and age 0.
    """
    utility, age, accumulator = statistics.utility, statistics.age, statistics.accumulator
    corrected = corrected_utility(statistics, config)
    units = age.shape[-1]
    index = torch.arange(units, device=age.device)
    chosen = []
    for _ in range(config.max_replacements(units)):
        mature = age > config.maturity
        due = (accumulator >= 1) & mature.any(dim=-1)
        least = corrected.masked_fill(~mature, torch.inf).argmin(dim=-1, keepdim=True)
        mask = (index == least) & due.unsqueeze(-1)
        utility, age = utility.masked_fill(mask, 0.0), age.masked_fill(mask, 0.0)
        accumulator = accumulator - due.to(accumulator.dtype)
        chosen.append(mask.to(age.dtype))
    return chosen, UnitStatistics(utility, age, accumulator)
