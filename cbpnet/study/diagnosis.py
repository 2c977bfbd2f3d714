"""What is wrong with a block that no longer learns: its units, its representation, its weights."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from cbpnet.method.block import BLOCK_PARAMETERS, BlockParameters, block_output

__all__ = ["Diagnosis", "block_outputs", "diagnose", "dormant_share", "effective_rank"]


@dataclass(frozen=True)
class Diagnosis:
    """Many blocks after so many tasks, a number for each [R].

    ``dormant`` and ``rank`` are `dormant_share` and `effective_rank` of the hidden activations,
    ``incoming`` and ``outgoing`` the mean of |w_in| and of |w_out|.
    """

    tasks: int
    dormant: Tensor
    rank: Tensor
    incoming: Tensor
    outgoing: Tensor


def diagnose(tasks: int, blocks: Mapping[str, Tensor], images: Tensor) -> Diagnosis:
    """Diagnose R blocks side by side over the features [N, D] of some images."""
    w_in, b_in, w_out = (blocks[name] for name in BLOCK_PARAMETERS)
    hidden = block_outputs(w_in, b_in, w_out, images.expand(len(w_in), -1, -1))[1]
    return Diagnosis(
        tasks,
        dormant_share(hidden),
        effective_rank(hidden),
        w_in.abs().mean(dim=(1, 2)),
        w_out.abs().mean(dim=(1, 2)),
    )


def dormant_share(hidden: Tensor) -> Tensor:
    """Return the share of units [...] that are active on fewer than 1 % of the images.

    ``hidden`` [..., N, H] are rectified activations. The measure of Dohare et al., Nature 2024.
    """
    active = (hidden > 0).double().mean(dim=-2)
    return (active < 0.01).double().mean(dim=-1)


def effective_rank(hidden: Tensor) -> Tensor:
    """Return the effective rank [...] of representations [..., N, H]: from 1 to H, 0 for zeros.

    The exponential of the entropy of the normalised singular values (Roy and Vetterli, 2007).
    """
    values = torch.linalg.svdvals(hidden.double())
    total = values.sum(dim=-1, keepdim=True)
    share = values / total.where(total > 0, 1.0)
    entropy: Tensor = -torch.special.xlogy(share, share).sum(dim=-1)
    return entropy.exp().where(total.squeeze(-1) > 0, 0.0)


def _block_output(
    w_in: Tensor, b_in: Tensor, w_out: Tensor, features: Tensor
) -> tuple[Tensor, Tensor]:
    block = BlockParameters(w_in.unsqueeze(0), b_in.unsqueeze(0), w_out.unsqueeze(0))
    return block_output(block, features, "relu")


# `cbpnet.method.block.block_output` of R blocks, a feature matrix [N, D] for each.
block_outputs: Callable[..., tuple[Tensor, Tensor]] = torch.vmap(_block_output)
