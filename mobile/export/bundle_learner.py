"""The learner that a bundle is made of: the paper's or the one-pass learner."""

from cbpnet.method.config import LearnerConfig
from cbpnet.method.layout import ADAPTATION, STATE, methods_of
from cbpnet.method.learner import FeatureExtractor, Learner
from cbpnet.method.one_pass import OnePassLearner
from cbpnet.method.state import LearnerState
from mobile.export.one_pass_functions import one_pass_functions
from mobile.export.split_learner import SplitLearner, SplitOnePassLearner
from mobile.export.task_functions import task_functions
from mobile.export.tracing import Function

__all__ = ["BundleLearner", "bundle_functions", "make_learner", "trained_by", "trained_prefix"]

BundleLearner = Learner | OnePassLearner


def make_learner(
    learning: FeatureExtractor,
    forward: FeatureExtractor | None,
    config: LearnerConfig,
    classes: int,
    tasks: int,
) -> BundleLearner:
    """Return the learner of a configuration, whose gradients go through the trunk ``learning``.

    Features come from the trunk ``forward``, where there is one beside it.
    """
    if config.one_pass:
        if forward is None:
            return OnePassLearner(learning, config, classes)
        return SplitOnePassLearner(learning, forward, config, classes)
    if forward is None:
        return Learner(learning, config, classes, tasks)
    return SplitLearner(learning, forward, config, classes, tasks)


def bundle_functions(
    learner: BundleLearner, state: LearnerState, micro_batch: int, image_size: int
) -> list[Function]:
    """Return the functions of a bundle, of ``micro_batch`` images; `initial_state` gives a state.

    The inputs of the others have the state's shapes.
    """
    if isinstance(learner, OnePassLearner):
        return one_pass_functions(learner, state, micro_batch, image_size)
    return task_functions(learner, state, micro_batch, image_size)


def trained_by(learner: BundleLearner) -> Learner | None:
    """Return what takes a learner's steps: itself, its adaptation, or None where it takes none."""
    if isinstance(learner, Learner):
        return learner
    return learner.adaptation if "update" in methods_of(learner.config) else None


def trained_prefix(learner: BundleLearner) -> str:
    """Return what stands before the names of the tensors that steps change."""
    return STATE if isinstance(learner, Learner) else ADAPTATION
