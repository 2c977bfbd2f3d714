from .contender import LearnerContender as LearnerContender
from .lesson import learn_lesson as learn_lesson
from .metrics import (
    RunResult as RunResult,
    accuracy_over_tasks as accuracy_over_tasks,
    average_accuracy as average_accuracy,
    average_incremental_accuracy as average_incremental_accuracy,
    forgetting as forgetting,
    learning_accuracy as learning_accuracy,
    summarise as summarise,
)
from .one_pass_contender import OnePassContender as OnePassContender
from .protocol import (
    Contender as Contender,
    Learnt as Learnt,
    ProtocolRecord as ProtocolRecord,
    TaskAccuracy as TaskAccuracy,
    TaskOutcome as TaskOutcome,
    run_protocol as run_protocol,
)
from .queries import Queries as Queries, query_stream as query_stream
from .result_store import ResultStore as ResultStore
from .session import TrainingSession as TrainingSession
from .state_file import load_state as load_state, save_state as save_state
from .state_info import StateInfo as StateInfo
from .training import (
    TaskImages as TaskImages,
    TrainingConfig as TrainingConfig,
    initial_state as initial_state,
    learn_task as learn_task,
)
