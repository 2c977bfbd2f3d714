"""Learners on two backbones: one that is fast forward, and one through which gradients go.

Both are the same frozen network, rounded for different hardware.
"""

from torch import Tensor

from cbpnet.method.config import LearnerConfig
from cbpnet.method.layout import adaptation_config
from cbpnet.method.learner import FeatureExtractor, Learner
from cbpnet.method.one_pass import OnePassLearner
from cbpnet.method.state import LearnerState

__all__ = ["SplitLearner", "SplitOnePassLearner"]


class SplitLearner(Learner):
    """Queries and predicts on the backbone ``forward``, and learns on ``backbone``."""

    def __init__(
        self,
        backbone: FeatureExtractor,
        forward: FeatureExtractor,
        config: LearnerConfig,
        classes: int,
        tasks: int,
    ) -> None:
        super().__init__(backbone, config, classes, tasks)
        self.forward = Learner(forward, config, classes, tasks)

    def query(self, images: Tensor) -> Tensor:
        """Return `Learner.query` on the forward backbone."""
        return self.forward.query(images)

    def network_scores(
        self, state: LearnerState, images: Tensor, query: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return `Learner.network_scores` on the forward backbone."""
        return self.forward.network_scores(state, images, query)


class SplitOnePassLearner(OnePassLearner):
    """Counts the features of the backbone ``forward``, and adapts them on ``backbone``."""

    def __init__(
        self,
        backbone: FeatureExtractor,
        forward: FeatureExtractor,
        config: LearnerConfig,
        classes: int,
    ) -> None:
        super().__init__(forward, config, classes)
        self.adaptation = Learner(backbone, adaptation_config(config), classes, tasks=1)
