"""How far a learner on a quantised backbone is from the one in fp32, on real images."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from cbpnet.host.errors import InputError
from cbpnet.method.features import normalise_feature
from cbpnet.method.learner import Learner
from cbpnet.method.prompts import gather_task, prefixes
from cbpnet.method.state import LearnerState
from quantize.distance import flat_cosine, mean_cosine, sqnr_db

__all__ = [
    "FeatureAgreement",
    "GradientAgreement",
    "QuantisationReport",
    "compare_features",
    "compare_gradients",
    "compare_learners",
]


@dataclass(frozen=True)
class FeatureAgreement:
    """The mean cosine between features of the same image, and their SQNR in decibels.

    ``sqnr_db`` is None where they are equal.
    """

    cosine: float
    sqnr_db: float | None


@dataclass(frozen=True)
class GradientAgreement:
    """The cosine between the gradients of one tensor, one for each batch: its mean and least."""

    cosine: float
    least: float


@dataclass(frozen=True)
class QuantisationReport:
    """What `compare_learners` found.

    ``query`` and ``prompted`` are the un-prompted and the prompted feature; ``prompted`` is None
    where a learner is a program, which does not give it. ``top1_agreement`` is the share of images
    that both classify alike, ``task_agreement`` the share for which both choose the same prompt.
    ``gradients`` names every trainable; it is empty where no image is of the current task.
    """

    images: int
    gradient_images: int
    query: FeatureAgreement
    prompted: FeatureAgreement | None
    top1_agreement: float
    task_agreement: float
    gradients: dict[str, GradientAgreement]

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON takes it, for a bundle's manifest; `dataclass_json` reads it back."""
        return asdict(self)


@dataclass(frozen=True)
class _Outcome:
    """What one learner gives for one batch."""

    query: Tensor
    prompted: Tensor | None
    best: Tensor
    task: Tensor
    sums: dict[str, Tensor]


def compare_learners(
    exact: Learner,
    rounded: Learner,
    state: LearnerState,
    batches: Iterable[tuple[Tensor, Tensor]],
    progress: Callable[[int], object] = lambda images: None,
) -> QuantisationReport:
    """Compare two learners in the same state, on batches of images and labels.

    Images [B, 3, S, S] are normalised. All of them are predicted, each learner with its own query
    features; gradients are of those images whose label [B] is a class of the state's current task,
    and are compared batch by batch, as learning takes them. ``progress`` counts images.

    Raises InputError where there is no batch.
    """
    found: list[tuple[_Outcome, _Outcome]] = []
    for images, labels in batches:
        ours = _outcome(exact, state, images, labels)
        found.append((ours, _outcome(rounded, state, images, labels, ours.task)))
        progress(len(images))
    if not found:
        raise InputError("comparing learners needs at least one batch of images; there was none")
    without = any(part.prompted is None for pair in found for part in pair)
    trained = [(a.sums, b.sums) for a, b in found if a.sums["count"].item()]
    return QuantisationReport(
        images=sum(len(a.query) for a, _ in found),
        gradient_images=int(sum(a["count"].item() for a, _ in trained)),
        query=_features(found, "query"),
        prompted=None if without else _features(found, "prompted"),
        top1_agreement=_share([a.best == b.best for a, b in found]),
        task_agreement=_share([(a.task == b.task).all(dim=1) for a, b in found]),
        gradients=compare_gradients(trained),
    )


def _outcome(
    learner: Learner,
    state: LearnerState,
    images: Tensor,
    labels: Tensor,
    shown: Tensor | None = None,
) -> _Outcome:
    """Run one learner; ``shown`` [B, T] are the tasks whose prompts its prompted feature has.

    By default its own choice. Features of different prompts cannot be compared.
    """
    readout = learner.config.readout.kind
    with torch.no_grad():
        query = learner.query(images)
        scores, task = learner.scores(state, images, query, [readout])
        prompted = None
        if isinstance(learner, Learner):
            prompted = _prompted(learner, state, images, task if shown is None else shown)
    sums = learner.gradients(state, images, query, labels, learner.zero_sums())
    return _Outcome(query, prompted, scores[readout].argmax(dim=1), task, sums)


def _prompted(learner: Learner, state: LearnerState, images: Tensor, task: Tensor) -> Tensor:
    prompts = learner.config.prompts
    expert = gather_task(state["prompts.e"], task) if "prompts.e" in state else None
    given = prefixes(state.get("prompts.g"), expert, prompts.g_layers, prompts.e_layers)
    return normalise_feature(learner.backbone(images, given))


def compare_features(exact: Tensor, rounded: Tensor) -> FeatureAgreement:
    """Compare features [N, F] of the same images."""
    ratio = None if exact.equal(rounded) else sqnr_db(exact, rounded)
    return FeatureAgreement(mean_cosine(exact, rounded), ratio)


def compare_gradients(
    pairs: Sequence[tuple[dict[str, Tensor], dict[str, Tensor]]],
) -> dict[str, GradientAgreement]:
    """Compare the sums of both learners, batch by batch; what they hold besides is left out."""
    found = {}
    for name in pairs[0][0] if pairs else ():
        if name not in _STATISTICS:
            cosines = [flat_cosine(exact[name], rounded[name]) for exact, rounded in pairs]
            found[name] = GradientAgreement(sum(cosines) / len(cosines), min(cosines))
    return found


def _features(found: Sequence[tuple[_Outcome, _Outcome]], name: str) -> FeatureAgreement:
    exact, rounded = (torch.cat([getattr(pair[i], name) for pair in found]) for i in (0, 1))
    return compare_features(exact, rounded)


def _share(hits: Sequence[Tensor]) -> float:
    return torch.cat(list(hits)).double().mean().item()


# What a step's sums hold beside gradients.
_STATISTICS = {"activity", "attention", "loss", "correct", "count"}
