"""The one-pass learner as pure functions: adapt when a lesson needs it, count everything else.

One trunk with a G-prompt gives an image's features x in one pass. What is known of the classes are
statistics of x; the classifier is solved from them in closed form. A lesson that needs it trains
the prompt first, as a task of the paper's learner with a head that is thrown away (`adaptation`),
and the statistics of old classes are carried over the change of the features.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from cbpnet.host.random_streams import RandomStream
from cbpnet.method.config import LearnerConfig, ReadoutConfig
from cbpnet.method.drift import Drift
from cbpnet.method.feature_names import with_classifier
from cbpnet.method.features import join_parts
from cbpnet.method.initial import draw_state
from cbpnet.method.layout import (
    adaptation_config,
    drift_layout,
    is_adapted,
    prefixed,
    state_layout,
)
from cbpnet.method.learner import FeatureExtractor, Learner
from cbpnet.method.left_out import leave_out, left_out_scores
from cbpnet.method.linear_readout import solve_readout
from cbpnet.method.prompts import one_hot, prefixes
from cbpnet.method.rows import times_rows
from cbpnet.method.state import LearnerState
from cbpnet.method.statistics import ClassStatistics
from cbpnet.method.tensors import as_tensors
from cbpnet.method.unknown import UnknownHead, left_out_unknown, unknown_head, unknown_scores
from cbpnet.method.whitening import Whitening, whiten

__all__ = ["OnePassLearner", "solve_state", "statistics_of"]

# Finite, so that a one-hot product with a masked log-probability is 0 and not NaN.
_MASKED = -1e9
_FIRST_TASK = 0.0  # of the adaptation, which knows no other


class OnePassLearner:
    """A frozen backbone, a configuration and a capacity of C ``classes``.

    Images are normalised, [B, 3, S, S]; features are what `features` returned for them, [B, F];
    labels are class numbers below C, [B], and others mark padding, which changes nothing.

    Attributes:
        adaptation: what trains the G-prompt. Its state is begun by `begin_task` and thrown away.
        layout: names and shapes of the state's tensors.
    """

    def __init__(self, backbone: FeatureExtractor, config: LearnerConfig, classes: int) -> None:
        self.backbone, self.config, self.classes = backbone, config, classes
        self.adaptation = Learner(backbone, adaptation_config(config), classes, tasks=1)
        self.layout = state_layout(config, backbone.dim, classes, tasks=1)

    def initial_state(self, stream: RandomStream) -> LearnerState:
        """Return the state before any class is known; prompts draw from the stream."""
        return as_tensors(draw_state(self.config, self.backbone.dim, self.classes, 1, stream))

    def features(self, state: Mapping[str, Tensor], images: Tensor) -> Tensor:
        """Return the features x [B, F] of images in one pass."""
        return self.look(state, images)[0]

    def confidence(self, images: Tensor) -> Tensor | None:
        """Return how sure the pretrained classifier is of each image [B]; None without one.

        That is its greatest probability, by features under a prompt of zeros: it says how well the
        backbone knows such images, whatever lessons have adapted the prompt to.
        """
        shape = self.layout.get("prompts.g")
        return self.look({} if shape is None else {"prompts.g": torch.zeros(shape)}, images)[1]

    def look(self, state: Mapping[str, Tensor], images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return features and confidence of images in one pass, with the prompt in ``state``."""
        prefix = prefixes(state.get("prompts.g"), None, self.config.prompts.g_layers, ())
        names = self.config.features
        asked = with_classifier(names, self.backbone.logits)
        parts = dict(zip(asked, self.backbone.parts(images, prefix, asked), strict=True))
        x = join_parts(names, [parts[name] for name in names])
        if not self.backbone.logits:
            return x, None
        return x, parts[f"logits{self.backbone.logits}"].softmax(dim=1).amax(dim=1)

    def observe(self, state: LearnerState, x: Tensor, labels: Tensor) -> LearnerState:
        """Return the state with images counted, each image once."""
        targets = one_hot(labels, self.classes).to(x.dtype)
        return _with_statistics(state, statistics_of(state).with_images(x, targets))

    def solve(
        self, state: LearnerState, prior: Tensor, scale: Tensor
    ) -> tuple[LearnerState, Whitening]:
        """Return the state with its readout solved, and the metric for `leave_one_out`.

        ``prior`` [1] regularises the scatter, see `whitening`; ``scale`` [1] multiplies the scores.
        """
        return solve_state(self.config.readout, state, prior, scale)

    def leave_one_out(
        self,
        state: LearnerState,
        metric: Whitening,
        x: Tensor,
        labels: Tensor,
        members: Tensor,
        sums: dict[str, Tensor],
        copies: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Return the sums with counted images added, each classified by what is known without it.

        ``members`` [C] is 1 for the classes that they are classified among, and ``copies`` [B] how
        many images of its class each is left out with, see `leave_out`; None is each alone. "right"
        and "count" [1] count right answers and images, "likelihood" [T] sums the log-probabilities
        of the right class by each of the configuration's scales, and "unknown" [2] the unknown
        scores and their squares. An image whose class has no other is left out.
        """
        targets = one_hot(labels, self.classes).to(x.dtype)
        count = state["classes.count"]
        real = targets.sum(dim=1) * (targets @ count >= 2)
        left = leave_out(
            metric,
            count,
            state["classes.mean"],
            x,
            targets,
            torch.ones_like(x[:, 0]) if copies is None else copies,
        )
        unknown = left_out_unknown(left, count)
        scores = left_out_scores(left, count.sum())
        scores = scores.masked_fill((count * members == 0), _MASKED)
        right = (targets * one_hot(scores.argmax(dim=1), self.classes)).sum(dim=1)
        scales = torch.tensor(self.config.readout.scales, dtype=x.dtype).view(-1, 1, 1)
        found = (targets * (scales * scores).log_softmax(dim=2)).sum(dim=2)  # [T, B]
        added = {
            "right": (real * right).sum().unsqueeze(0),
            "count": real.sum().unsqueeze(0),
            "likelihood": (real * found).sum(dim=1),
            "unknown": torch.stack([real @ unknown, real @ (unknown * unknown)]),
        }
        return {name: value + added[name] for name, value in sums.items()}

    def zero_evidence(self) -> dict[str, Tensor]:
        """Return empty sums for `leave_one_out`."""
        scales = len(self.config.readout.scales)
        shapes = {"right": 1, "count": 1, "likelihood": scales, "unknown": 2}
        return {name: torch.zeros(size) for name, size in shapes.items()}

    def predict(self, state: LearnerState, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return class scores and probabilities [B, C], and unknown scores [B].

        Classes without images have a score of -inf and a probability of 0. An image whose unknown
        score is above the state's "unknown.threshold" is like nothing that is known; only a
        "whitened" readout tells, the score is 0 with any other.
        """
        count = state["classes.count"]
        products = times_rows(x, state["readout.weight"])
        scores = (products + state["readout.bias"]).masked_fill(count == 0, -torch.inf)
        head = UnknownHead(*(state[f"unknown.{name}"] for name in UnknownHead._fields))
        return scores, scores.softmax(dim=1), unknown_scores(head, count, x, products)

    def begin_task(self, state: LearnerState, members: Tensor) -> LearnerState:
        """Return the adaptation's state, ready to train on the classes ``members`` [C] marks.

        Their images have been observed: the head's rows start at their means.
        """
        own = self.adaptation.layout
        start = {name: torch.zeros(shape) for name, shape in own.items()}
        start["classes.task"] -= 1
        start |= {name: value.clone() for name, value in state.items() if is_adapted(name)}
        start["classes.mean"] = state["classes.mean"][:, : self.backbone.dim].clone()
        return self.adaptation.begin_task(
            LearnerState(own, start), torch.full((1,), _FIRST_TASK), members
        )

    def zero_drift(self) -> Drift:
        """Return empty sums for `compare`."""
        layout = drift_layout(self.config, self.backbone.dim, self.classes)
        return Drift(**{name: torch.zeros(shape) for name, shape in layout.items()})

    def compare(
        self, drift: Drift, before: Tensor, after: Tensor, weight: Tensor, labels: Tensor
    ) -> Drift:
        """Return the sums with images added whose features [B, F] an adaptation has changed.

        ``weight`` [B] is what each pair counts, 0 marks padding. ``labels`` are the classes of kept
        pictures, and -1 those of other images.
        """
        kept = one_hot(labels, self.classes).to(before.dtype)
        return drift.with_pairs(before, after, weight, kept)

    def carry(self, state: LearnerState, drift: Drift) -> LearnerState:
        """Return the state with its statistics carried over an adaptation."""
        return _with_statistics(state, drift.carry(statistics_of(state)))


def statistics_of(state: Mapping[str, Tensor]) -> ClassStatistics:
    """Return the statistics in a state."""
    return ClassStatistics(*(state[f"classes.{name}"] for name in _STATISTICS))


def solve_state(
    config: ReadoutConfig, state: LearnerState, prior: Tensor, scale: Tensor
) -> tuple[LearnerState, Whitening]:
    """Return what `OnePassLearner.solve` does, with any readout: all have the same statistics."""
    known = statistics_of(state)
    metric = whiten(known, prior)
    weight, bias = solve_readout(config, known, metric)
    readout = {"weight": scale * weight, "bias": scale * bias, "prior": prior, "scale": scale}
    changed = prefixed("readout.", readout)
    if config.kind == "whitened":
        head = unknown_head(metric, known.count, known.mean, readout["weight"], scale)
    else:
        head = UnknownHead(
            *(torch.zeros_like(state[f"unknown.{name}"]) for name in UnknownHead._fields)
        )
    changed |= prefixed("unknown.", head._asdict())
    solved = {name: value.contiguous().clone() for name, value in changed.items()}
    return state.replace(solved), metric


_STATISTICS = tuple(ClassStatistics.__annotations__)


def _with_statistics(state: LearnerState, known: ClassStatistics) -> LearnerState:
    return state.replace({f"classes.{name}": value for name, value in vars(known).items()})
