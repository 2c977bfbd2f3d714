from .answers import answer_files as answer_files
from .bundle import open_bundle as open_bundle, read_manifest as read_manifest
from .images import ImageLike as ImageLike
from .inbox import Inbox as Inbox
from .lessons import Forecast as Forecast, Lesson as Lesson
from .manifest import Manifest as Manifest
from .one_pass_program import OnePassProgram as OnePassProgram
from .prediction import Prediction as Prediction
from .program import Program as Program, get_threads as get_threads, set_threads as set_threads
from .program_learner import ProgramLearner as ProgramLearner
from .runtime import OnDeviceLearner as OnDeviceLearner
from .state_lock import writing as writing
