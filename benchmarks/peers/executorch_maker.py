"""Exports a step's loss through ExecuTorch's own training path."""

from pathlib import Path

import torch
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.exir import to_edge, to_edge_transform_and_lower
from torch.export.experimental import _export_forward_backward

from benchmarks.pytorch_learner import LossModule
from benchmarks.step import Step

__all__ = ["make"]


def make(step: Step, variant: str, path: Path) -> None:
    """Write the forward and backward pass; "xnnpack" with the default partitioner."""
    module = LossModule(step)
    joint = _export_forward_backward(torch.export.export(module, step.batch(0), strict=False))
    if variant == "xnnpack":
        edge = to_edge_transform_and_lower(joint, partitioner=[XnnpackPartitioner()])
    else:
        edge = to_edge(joint)
    path.write_bytes(edge.to_executorch().buffer)
