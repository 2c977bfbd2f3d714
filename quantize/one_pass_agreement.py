"""How far a one-pass learner on a quantised backbone is from the one in fp32, on real images."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from cbpnet.host.errors import InputError
from cbpnet.method.left_out import leave_out, left_out_scores
from cbpnet.method.one_pass import OnePassLearner
from cbpnet.method.prompts import one_hot
from cbpnet.method.state import LearnerState
from quantize.learner_agreement import (
    FeatureAgreement,
    GradientAgreement,
    compare_features,
    compare_gradients,
)

__all__ = ["OnePassReport", "compare_one_pass_learners"]


@dataclass(frozen=True)
class OnePassReport:
    """What `compare_one_pass_learners` found.

    ``features`` are those that are counted. ``top1_agreement`` is the share of images that both
    classify alike, each by what is known without it; None where no class has two images.
    ``gradients`` are those of an adaptation; it is empty where nothing adapts.
    """

    images: int
    features: FeatureAgreement
    top1_agreement: float | None
    gradients: dict[str, GradientAgreement]

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON takes it, for a bundle's manifest; `dataclass_json` reads it back."""
        return asdict(self)


def compare_one_pass_learners(
    exact: OnePassLearner,
    rounded: OnePassLearner,
    state: LearnerState,
    batches: Sequence[tuple[Tensor, Tensor]],
) -> OnePassReport:
    """Compare two learners on a first lesson, in batches of images and labels.

    Images [B, 3, S, S] are normalised, ``state`` knows no class. Each learner counts all images by
    its own features. Gradients are those of the lesson's adaptation, and are compared batch by
    batch, as learning takes them.

    Raises InputError where there is no batch.
    """
    if not batches:
        raise InputError("comparing learners needs at least one batch of images; there was none")
    labels = torch.cat([few for _, few in batches])
    pair = [_features(learner, state, batches) for learner in (exact, rounded)]
    counted = [
        learner.observe(state, x, labels) for learner, x in zip((exact, rounded), pair, strict=True)
    ]
    answers = [
        _left_out(learner, known, x, labels)
        for learner, known, x in zip((exact, rounded), counted, pair, strict=True)
    ]
    return OnePassReport(
        len(labels),
        compare_features(*pair),
        (answers[0] == answers[1]).double().mean().item() if len(answers[0]) else None,
        compare_gradients(_gradients(exact, rounded, counted[0], pair, batches)),
    )


def _features(
    learner: OnePassLearner, state: LearnerState, batches: Sequence[tuple[Tensor, Tensor]]
) -> Tensor:
    with torch.no_grad():
        return torch.cat([learner.features(state, images) for images, _ in batches])


def _left_out(learner: OnePassLearner, state: LearnerState, x: Tensor, labels: Tensor) -> Tensor:
    """Return the class of each counted image by what is known without it, where that is any."""
    known, metric = learner.solve(state, state["readout.prior"], state["readout.scale"])
    targets = one_hot(labels, learner.classes).to(x.dtype)
    count = known["classes.count"]
    left = leave_out(metric, count, known["classes.mean"], x, targets, torch.ones(len(x)))
    scores = left_out_scores(left, count.sum())
    best = scores.masked_fill(count == 0, -torch.inf).argmax(dim=1)
    return best[targets @ count >= 2]


def _gradients(
    exact: OnePassLearner,
    rounded: OnePassLearner,
    known: LearnerState,
    features: Sequence[Tensor],
    batches: Sequence[tuple[Tensor, Tensor]],
) -> list[tuple[dict[str, Tensor], dict[str, Tensor]]]:
    """Return the sums of each batch, in the same state of an adaptation."""
    if "prompts.g" not in known:
        return []
    labels = torch.cat([few for _, few in batches])
    members = torch.zeros(exact.classes).index_fill(0, labels.unique(), 1.0)
    begun = exact.begin_task(known, members)
    dim = begun["prompts.g"].shape[-1]
    sizes = [len(few) for _, few in batches]
    found = []
    for (images, few), *queries in zip(batches, *(x.split(sizes) for x in features), strict=True):
        sums = [
            part.gradients(begun, images, query[:, :dim], few, part.zero_sums())
            for part, query in zip((exact.adaptation, rounded.adaptation), queries, strict=True)
        ]
        found.append((sums[0], sums[1]))
    return found
