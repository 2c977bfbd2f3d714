"""The learner in PyTorch: eager, compiled, or with torchao's int8 linear layers."""

from pathlib import Path
from typing import Any

import torch

from benchmarks.operations import METHODS, learner_operations
from benchmarks.pytorch_learner import build_learner
from benchmarks.step import Step
from benchmarks.worker import Operations

__all__ = ["load", "start"]


def start(threads: int) -> None:
    """Set torch's threads."""
    torch.set_num_threads(threads)


def load(step: Step, program: Path | None, variant: str) -> Operations:
    """Return the learner's functions on a micro-batch."""
    learner = build_learner(step.model)
    if variant == "torchao":
        _round_linear_layers(learner.backbone)
    methods: dict[str, Any] = {name: getattr(learner, name) for name in METHODS}
    if variant == "compile":
        torch._dynamo.config.trace_autograd_ops = True  # gradients are taken inside
        methods |= {name: torch.compile(methods[name]) for name in METHODS if name != "update"}
    return learner_operations(step, methods, learner.zero_sums())


def _round_linear_layers(backbone: Any) -> None:
    """Let torchao compute the linear layers in int8, forward and backward."""
    from torchao.prototype.quantized_training import Int8MixedPrecisionTrainingConfig
    from torchao.quantization import quantize_

    # Without the swap of modules the layers stay in fp32, unless their weights are trained.
    quantize_(backbone, Int8MixedPrecisionTrainingConfig(module_swap=True))
