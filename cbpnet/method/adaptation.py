"""What trains a one-pass learner's G-prompt: a task of the paper's that minds old classes."""

from torch import Tensor

from cbpnet.method.learner import Learner
from cbpnet.method.state import LearnerState

__all__ = ["Adaptation"]


class Adaptation(Learner):
    """A learner of one task, with a G-prompt and a cosine head that is thrown away.

    Its state's class counts are those of old classes. Where there are any, features are held to
    where they were before, which the queries are: the statistics of old classes are there.
    """

    def penalty(
        self, state: LearnerState, feature: Tensor, query: Tensor, targets: Tensor
    ) -> Tensor:
        """Return ``anchor`` times the squared distance between features and queries [B, D]."""
        moved = ((feature - query) ** 2).sum(dim=1) * targets.sum(dim=1)
        some_are_known = (state["classes.count"].sum() > 0).to(feature.dtype)
        return self.config.adaptation.anchor * some_are_known * moved.sum()
