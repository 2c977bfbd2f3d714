"""Exports a bundle of a step's model."""

from pathlib import Path

from benchmarks.pytorch_learner import build_learner, load_backbone
from benchmarks.step import Step
from cbpnet.host.random_streams import RandomStream
from cbpnet.method.eager import EagerLearner
from mobile.export.exporter import ExportSettings, export_bundle
from mobile.targets import resolve_target
from quantize.frozen_linear import Precision

__all__ = ["make"]


def make(step: Step, variant: str, path: Path) -> None:
    """Write a bundle that knows no class; ``variant`` is its precision."""
    model = step.model
    learner = build_learner(model)
    state = EagerLearner(learner).initial_state(RandomStream(0, 0))
    precision: Precision = "fp32" if variant == "fp32" else "int8"
    target = resolve_target("xnnpack", precision)
    settings = ExportSettings(target, model.classes, model.tasks, model.micro_batch)
    export_bundle(path, load_backbone(model), learner.config, state, settings)
