from .backbone import Backbone as Backbone, get_preset as get_preset, load_backbone as load_backbone
from .data import load_dataset as load_dataset, make_stream as make_stream
from .host import InputError as InputError
from .method import Learner as Learner, LearnerConfig as LearnerConfig, LearnerState as LearnerState
from .run import (
    TrainingConfig as TrainingConfig,
    TrainingSession as TrainingSession,
    load_state as load_state,
    save_state as save_state,
)
