"""Exports a bundle of a step's model."""

from pathlib import Path

import torch

from benchmarks.pytorch_learner import build_learner, load_backbone
from benchmarks.step import Step
from mobile.export.exporter import ExportSettings, export_bundle
from mobile.targets import resolve_target
from quantize.frozen_linear import Precision

__all__ = ["make"]


def make(step: Step, variant: str, path: Path) -> None:
    """Write a bundle that knows no class; ``variant`` is its precision."""
    model = step.model
    learner = build_learner(model)
    state = learner.initial_state(torch.Generator().manual_seed(0))
    precision: Precision = "fp32" if variant == "fp32" else "int8"
    target = resolve_target("xnnpack", precision)
    settings = ExportSettings(target, model.classes, model.tasks, model.micro_batch)
    export_bundle(path, load_backbone(model), learner.config, state, settings)
