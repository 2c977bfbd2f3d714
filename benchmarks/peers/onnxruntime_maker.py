"""Exports a step's loss for ONNX Runtime's on-device training."""

from pathlib import Path
from unittest.mock import patch

import onnx
import torch
from onnxruntime.training import artifacts
from torch import nn

from benchmarks.pytorch_learner import LossModule
from benchmarks.step import Step
from cbpnet.method.block import BLOCK_PARAMETERS, BlockParameters

__all__ = ["make"]

_OPSET, _IR_VERSION = 15, 9  # the newest that the runtime's gradients, and its reader, know


def make(step: Step, variant: str, path: Path) -> None:
    """Write a folder with the training, evaluation and optimiser graph and the checkpoint."""
    path.mkdir()
    forward = path / "forward.onnx"
    _export_forward(step, forward)
    model = onnx.load(forward)
    parameters = [tensor.name for tensor in model.graph.initializer]
    artifacts.generate_artifacts(
        model,
        requires_grad=[name for name in parameters if name.startswith("trained.")],
        frozen_params=[name for name in parameters if name.startswith("backbone.")],
        optimizer=artifacts.OptimType.AdamW,
        artifact_directory=path,
    )
    for file in path.glob("*.onnx"):
        written = onnx.load(file)
        written.ir_version = _IR_VERSION
        onnx.save(written, file)


def _export_forward(step: Step, path: Path) -> None:
    """Write the forward pass.

    ONNX has no operator that stops gradients, so what the learner detaches is a copy that stays.
    """
    module = LossModule(step)
    constants = nn.ParameterList(
        nn.Parameter(step.state[name].clone(), requires_grad=False) for name in BLOCK_PARAMETERS
    )
    module.add_module("constants", constants)
    with patch.object(BlockParameters, "detach", lambda _: BlockParameters(*constants)):
        torch.onnx.export(
            module,
            step.batch(0),
            path,
            dynamo=False,  # the exporter whose operators have gradients there
            training=torch.onnx.TrainingMode.PRESERVE,  # or equal parameters would become one
            do_constant_folding=False,
            opset_version=_OPSET,
            input_names=["images", "query", "labels"],
            output_names=["loss"],
        )
