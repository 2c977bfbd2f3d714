"""The query readout: a closed-form classifier on the query features that are computed anyway.

Two forms, both exact and independent of the order of the images: class means (cosine), and ridge
regression to one-hot targets solved by recursive least squares, one image at a time, which takes
matrix products only:

    g = P x / (1 + x' P x),   W <- W + (y - W x) g',   P <- P - (P x) g'

with P = I / regularisation and W = 0 at the start. A class not yet seen has target 0 for every
image so far, and so a row of zeros: adding a class changes nothing before it. The inputs are
x = [query, relu(query R), 1] with a random projection R that never changes, as in RanPAC (McDonnell
et al., NeurIPS 2023, arXiv:2307.02251); without random features x = [query, 1].
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from cbpnet.method.config import ReadoutConfig, ReadoutKind
from cbpnet.method.rows import cosines, times_rows

__all__ = ["observe_images", "readout_scores"]


def observe_images(
    config: ReadoutConfig, state: Mapping[str, Tensor], query: Tensor, targets: Tensor
) -> dict[str, Tensor]:
    """Return the statistics after images with queries [B, D] and one-hot targets [B, C].

    A row of zeros in ``targets`` marks padding, which changes nothing.
    """
    count = state["classes.count"] + targets.sum(dim=0)
    surplus = targets.T @ query - targets.sum(dim=0).unsqueeze(1) * state["classes.mean"]
    mean = state["classes.mean"] + surplus / count.clamp(min=1).unsqueeze(1)
    changed = {"classes.count": count, "classes.mean": mean}
    if config.kind == "rls":
        inverse, weight = state["readout.inverse"], state["readout.weight"]
        inputs = _inputs(state, query) * targets.sum(dim=1, keepdim=True)
        for row, target in zip(inputs.split(1), targets.split(1), strict=True):
            projected = row @ inverse
            gain = projected / (1 + projected @ row.T)
            missed = (target - times_rows(row, weight)) * target.sum()
            weight = weight + missed.T @ gain
            inverse = inverse - projected.T @ gain
        changed |= {"readout.inverse": inverse, "readout.weight": weight}
    return changed


def readout_scores(kind: ReadoutKind, state: Mapping[str, Tensor], query: Tensor) -> Tensor:
    """Return the scores [B, C] of "means" (cosine, in [-1, 1]) or "rls" (about 0 to 1)."""
    if kind == "means":
        return cosines(query, state["classes.mean"])
    return times_rows(_inputs(state, query), state["readout.weight"])


def _inputs(state: Mapping[str, Tensor], query: Tensor) -> Tensor:
    """Return the regression's inputs [B, D + features + 1]."""
    random = torch.relu(query @ state["readout.projection"])
    return torch.cat([query, random, torch.ones_like(query[:, :1])], dim=1)
