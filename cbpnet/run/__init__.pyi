from .evaluation import run_stream as run_stream
from .metrics import (
    RunResult as RunResult,
    accuracy_over_tasks as accuracy_over_tasks,
    average_accuracy as average_accuracy,
    average_incremental_accuracy as average_incremental_accuracy,
    forgetting as forgetting,
    learning_accuracy as learning_accuracy,
    summarise as summarise,
)
from .session import TrainingSession as TrainingSession
from .state_file import StateInfo as StateInfo, load_state as load_state, save_state as save_state
from .training import (
    TaskImages as TaskImages,
    TrainingConfig as TrainingConfig,
    initial_state as initial_state,
    learn_task as learn_task,
)
