from .block import BlockParameters as BlockParameters
from .capacity import grow as grow
from .config import (
    BlockConfig as BlockConfig,
    CBPConfig as CBPConfig,
    LearnerConfig as LearnerConfig,
    OptimiserConfig as OptimiserConfig,
    PromptConfig as PromptConfig,
    ReadoutConfig as ReadoutConfig,
)
from .eager import EagerLearner as EagerLearner, EagerOnePass as EagerOnePass
from .initial import draw_state as draw_state
from .learner import Learner as Learner
from .learner_interface import GradientSums as GradientSums, LearnerInterface as LearnerInterface
from .one_pass import OnePassLearner as OnePassLearner
from .state import HostState as HostState, LearnerState as LearnerState
from .tensors import as_arrays as as_arrays, as_tensors as as_tensors
