"""The learner in PyTorch: eager, compiled, or with torchao's int8 linear layers."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.learner import build_learner
from benchmarks.step import Step
from benchmarks.worker import Operations

__all__ = ["load", "start"]


def start(threads: int) -> None:
    """Set torch's threads."""
    torch.set_num_threads(threads)


def load(step: Step, program: Path | None, variant: str) -> Operations:
    """Return the learner's functions on a micro-batch."""
    learner = build_learner(step.model)
    empty = learner.zero_sums()
    if variant == "torchao":
        _round_linear_layers(learner.backbone)
    compute, scores, features = learner.gradients, learner.predict, learner.query
    if variant == "compile":
        torch._dynamo.config.trace_autograd_ops = True  # gradients are taken inside
        compute, scores = torch.compile(compute), torch.compile(scores)
        features = torch.compile(features)
    last = {"sums": empty}

    def query(turn: int) -> dict[str, Tensor]:
        with torch.no_grad():
            return {"query": features(step.batch(turn)[0])}

    def predict(turn: int) -> dict[str, Tensor]:
        images, query, _ = step.batch(turn)
        with torch.no_grad():
            return {"scores": scores(step.state, images, query)[0]}

    def gradients(turn: int) -> dict[str, Tensor]:
        last["sums"] = compute(step.state, *step.batch(turn), empty)
        return last["sums"]

    def update(turn: int) -> dict[str, Tensor]:
        with torch.no_grad():
            return dict(learner.update(step.state, last["sums"], step.noise, torch.ones(1)))

    return {"query": query, "predict": predict, "gradients": gradients, "update": update}


def _round_linear_layers(backbone: Any) -> None:
    """Let torchao compute the linear layers in int8, forward and backward."""
    from torchao.prototype.quantized_training import Int8MixedPrecisionTrainingConfig
    from torchao.quantization import quantize_

    # Without the swap of modules the layers stay in fp32, unless their weights are trained.
    quantize_(backbone, Int8MixedPrecisionTrainingConfig(module_swap=True))
