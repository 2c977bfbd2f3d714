"""ExecuTorch's own training path: its TrainingModule and its SGD."""

from pathlib import Path

from executorch.extension.training import (
    _load_for_executorch_for_training_from_buffer,
    get_sgd_optimizer,
)
from torch import Tensor

from benchmarks.peers.bundle import start
from benchmarks.step import Step
from benchmarks.worker import Operations

__all__ = ["load", "start"]

_METHOD = "forward"
_RATE = 1e-6  # so small that the gradients of the next turn are the same step's


def load(step: Step, program: Path, variant: str) -> Operations:
    """Return forward and backward pass on a micro-batch, and the optimiser's step."""
    content = program.read_bytes()
    module = _load_for_executorch_for_training_from_buffer(content)

    def gradients(turn: int) -> dict[str, Tensor]:
        assert content  # the runtime points into the bytes without owning them
        module.forward_backward(_METHOD, step.batch(turn))
        return {
            name.removeprefix("trained.").replace("_", ".", 1): value
            for name, value in module.named_gradients().items()
        }

    gradients(0)  # before it the module does not know its parameters
    optimiser = get_sgd_optimizer(module.named_parameters(), _RATE)

    def update(turn: int) -> dict[str, Tensor]:
        optimiser.step(module.named_gradients())
        return {}

    return {"gradients": gradients, "update": update}
