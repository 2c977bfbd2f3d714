"""ONNX Runtime's on-device training."""

from pathlib import Path

import numpy as np
import torch
from onnxruntime import SessionOptions
from onnxruntime.training.api import CheckpointState, Module, Optimizer
from torch import Tensor

from benchmarks.step import Step
from benchmarks.worker import Operations

__all__ = ["load", "start"]

_RATE = 1e-6  # so small that the gradients of the next turn are the same step's
_options = SessionOptions()


def start(threads: int) -> None:
    """Set the runtime's threads."""
    torch.set_num_threads(1)
    _options.intra_op_num_threads = threads


def load(step: Step, program: Path, variant: str) -> Operations:
    """Return forward and backward pass on a micro-batch, and the optimiser's step."""
    checkpoint = CheckpointState.load_checkpoint(program / "checkpoint")
    module = Module(
        program / "training_model.onnx",
        checkpoint,
        program / "eval_model.onnx",
        session_options=_options,
    )
    optimiser = Optimizer(program / "optimizer_model.onnx", module)
    optimiser.set_learning_rate(_RATE)
    module.train()

    def gradients(turn: int) -> dict[str, Tensor]:
        module.lazy_reset_grad()
        module(*(tensor.numpy() for tensor in step.batch(turn)))
        return {
            name.removeprefix("trained.").replace("_", ".", 1): torch.from_numpy(
                np.array(parameter.grad)
            )
            for name, parameter in checkpoint.parameters
            if parameter.requires_grad
        }

    def update(turn: int) -> dict[str, Tensor]:
        optimiser.step()
        return {}

    return {"gradients": gradients, "update": update}
