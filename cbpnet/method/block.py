"""The Efficient CBP Block: a residual bottleneck on the final feature.

    h = f(z W_in + b_in),    z' = z + gate * h W_out

f is ReLU or the identity. ``W_out`` starts at zero, so that learning starts as plain DualPrompt.
There is no outgoing bias: a constant shift of the feature is what the head's bias is for. Continual
backpropagation governs the H hidden units and nothing else; its functions take layers side by side,
hence the first axis of 1 in the parameters.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from cbpnet.method.cbp import UnitStatistics, age_units, select_units
from cbpnet.method.config import BlockActivation, CBPConfig
from cbpnet.method.initial import initial_incoming
from cbpnet.method.layout import MOMENTS

__all__ = [
    "BLOCK_PARAMETERS",
    "BlockParameters",
    "block_output",
    "replace_units",
    "residual_loss",
]

BLOCK_PARAMETERS = ("block.w_in", "block.b_in", "block.w_out")

_ACTIVATIONS: dict[BlockActivation, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "identity": lambda hidden: hidden,
}


@dataclass(frozen=True)
class BlockParameters:
    """``w_in`` [1, D, H], ``b_in`` [1, H] and ``w_out`` [1, H, D]."""

    w_in: Tensor
    b_in: Tensor
    w_out: Tensor

    def detach(self) -> "BlockParameters":
        """Return the parameters as constants of the graph."""
        return BlockParameters(self.w_in.detach(), self.b_in.detach(), self.w_out.detach())


def block_output(
    parameters: BlockParameters, feature: Tensor, activation: BlockActivation
) -> tuple[Tensor, Tensor]:
    """Return the block's output [B, D], before the gate, and its hidden activations [B, H]."""
    hidden = _ACTIVATIONS[activation](feature @ parameters.w_in[0] + parameters.b_in[0])
    return hidden @ parameters.w_out[0], hidden


def residual_loss(
    parameters: BlockParameters,
    query: Tensor,
    targets: Tensor,
    centres: Tensor,
    activation: BlockActivation,
) -> tuple[Tensor, Tensor]:
    """Return the residual objective summed over the batch, and the hidden activations [B, H].

    ``mean_d (r + b(r))^2`` for the difference r between an image's query feature [B, D] and the
    mean one of its class, a row of ``centres`` [C, D]; ``targets`` [B, C] are one-hot, zeros for
    padding. What images of one class differ in is much the same for all classes, so what one task
    teaches the block serves the next, where the cross-entropy would pull it apart.
    """
    real = targets.sum(dim=1)
    residual = query - targets @ centres
    output, hidden = block_output(parameters, residual, activation)
    return ((residual + output).square().mean(dim=1) * real).sum(), hidden


def replace_units(
    tensors: Mapping[str, Tensor],
    statistics: UnitStatistics,
    activity: Tensor,
    noise: Tensor,
    config: CBPConfig,
) -> tuple[dict[str, Tensor], UnitStatistics]:
    """Run continual backpropagation once, after the optimiser's step.

    ``tensors`` holds the block's parameters and their moments, as the state names them;
    ``activity`` [1, H] is the batch's mean of |h|; ``noise`` [max_replacements, 1, D] is uniform in
    [0, 1). A replaced unit gets new incoming weights, bias and outgoing weights 0, utility and age
    0, and all its moments 0. Returns the changed tensors and the statistics.
    """
    changed = dict(tensors)
    contribution = activity * changed["block.w_out"].abs().sum(dim=-1)
    chosen, statistics = select_units(age_units(statistics, contribution, config), config)
    for mask, fresh in zip(chosen, initial_incoming(noise), strict=True):
        incoming, unit, outgoing = mask.unsqueeze(-2), mask, mask.unsqueeze(-1)
        for prefix in ("", *MOMENTS):
            new = fresh.unsqueeze(-1) if prefix == "" else torch.zeros_like(fresh).unsqueeze(-1)
            for name, where, value in (
                ("block.w_in", incoming, new),
                ("block.b_in", unit, 0.0),
                ("block.w_out", outgoing, 0.0),
            ):
                old = changed[prefix + name]
                changed[prefix + name] = torch.where(where > 0, value, old)
    return changed, statistics
