"""A learner on two backbones: one that is fast forward, and one through which gradients go."""

from torch import Tensor

from cbpnet.method.config import LearnerConfig
from cbpnet.method.learner import FeatureExtractor, Learner
from cbpnet.method.state import LearnerState

__all__ = ["SplitLearner"]


class SplitLearner(Learner):
    """Queries and predicts on the backbone ``forward``, and learns on ``backbone``.

    Both are the same frozen network, rounded for different hardware.
    """

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
