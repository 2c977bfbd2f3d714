"""What is timed of a learner: its methods on a step's micro-batches, whoever computes them."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from benchmarks.step import Step
from benchmarks.worker import Operations

__all__ = ["METHODS", "learner_operations"]

METHODS = ("query", "predict", "gradients", "update")


def learner_operations(
    step: Step, methods: Mapping[str, Callable[..., Any]], empty: Mapping[str, Tensor]
) -> Operations:
    """Return what is timed of a learner's ``methods``, which are `METHODS`, by name.

    ``empty`` are the sums of gradients before the first image.
    """
    last = {"sums": dict(empty)}

    def query(turn: int) -> dict[str, Tensor]:
        with torch.no_grad():
            return {"query": methods["query"](step.batch(turn)[0])}

    def predict(turn: int) -> dict[str, Tensor]:
        images, query, _ = step.batch(turn)
        with torch.no_grad():
            return {"scores": methods["predict"](step.state, images, query)[0]}

    def gradients(turn: int) -> dict[str, Tensor]:
        last["sums"] = methods["gradients"](step.state, *step.batch(turn), empty)
        return last["sums"]

    def update(turn: int) -> dict[str, Tensor]:
        with torch.no_grad():
            return dict(methods["update"](step.state, last["sums"], step.noise, torch.ones(1)))

    return {"query": query, "predict": predict, "gradients": gradients, "update": update}
