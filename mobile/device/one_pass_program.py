"""A bundle's program as a one-pass learner: the interface of `OnePassLearner`, run by ExecuTorch.

A program takes batches of one fixed size; here batches of any size are split and padded to it.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from cbpnet.method.drift import Drift
from cbpnet.method.initial import draw_state
from cbpnet.method.layout import (
    ADAPTATION,
    DRIFT,
    STATE,
    SUMS,
    adaptation_config,
    drift_layout,
    prefixed,
    unprefixed,
)
from cbpnet.method.learner_interface import Evidence
from cbpnet.method.state import LearnerState
from cbpnet.method.whitening import Whitening
from mobile.device.batches import fold_batches, map_batches
from mobile.device.program import Program
from mobile.device.program_steps import ProgramSteps

__all__ = ["OnePassProgram"]


class OnePassProgram:
    """The learner of a bundle; documented at `cbpnet.method.one_pass.OnePassLearner`.

    Attributes:
        program: whose methods run it.
        config: the settings that it was exported with.
        classes: capacity C in classes.
        adaptation: what trains the G-prompt.
        layout: names and shapes of the state's tensors.
    """

    def __init__(self, program: Program) -> None:
        manifest = program.manifest
        self.program, self.config = program, manifest.config
        self.classes, self.layout = manifest.classes, manifest.layout
        self.adaptation = ProgramSteps(program, adaptation_config(self.config), ADAPTATION)

    def stored_state(self) -> LearnerState:
        """Return the state that the bundle was exported with: what a server learnt, or nothing."""
        return LearnerState(self.layout, unprefixed(STATE, self.program.call("initial_state", {})))

    def initial_state(self, generator: torch.Generator) -> LearnerState:
        """Return a state before any class is known, whatever the stored one knows."""
        manifest = self.program.manifest
        return draw_state(
            self.config, manifest.backbone.dim, self.classes, manifest.tasks, generator
        )

    def features(self, state: Mapping[str, Tensor], images: Tensor) -> Tensor:
        """Return the features x [B, F] of images in one pass."""
        fixed = prefixed(STATE, state)
        return map_batches(self.program, "features", {"images": images}, fixed)["x"]

    def confidence(self, images: Tensor) -> Tensor | None:
        """Return how sure the pretrained classifier is of each image [B]; None without one."""
        shape = self.layout.get("prompts.g")
        fixed = {} if shape is None else {f"{STATE}prompts.g": torch.zeros(shape)}
        found = map_batches(self.program, "features", {"images": images}, fixed)
        return found.get("confidence")

    def observe(self, state: LearnerState, x: Tensor, labels: Tensor) -> LearnerState:
        """Return the state with images counted, each image once."""
        carried = prefixed(STATE, state)
        after = fold_batches(self.program, "observe", {"x": x, "labels": labels}, {}, carried)
        return state.replace(unprefixed(STATE, after))

    def solve(
        self, state: LearnerState, prior: Tensor, scale: Tensor
    ) -> tuple[LearnerState, Whitening]:
        """Return the state with its readout solved, and the metric for `leave_one_out`."""
        inputs = {"prior": prior, "scale": scale} | prefixed(STATE, state)
        found = self.program.call("solve", inputs)
        metric = Whitening(**{name: found[name] for name in Whitening._fields})
        return state.replace(unprefixed(STATE, found)), metric

    def zero_evidence(self) -> Evidence:
        """Return empty sums for `leave_one_out`."""
        given = self.program.manifest.methods["leave_one_out"].outputs
        return unprefixed(SUMS, {tensor.name: torch.zeros(tensor.shape) for tensor in given})

    def leave_one_out(
        self,
        state: LearnerState,
        metric: Whitening,
        x: Tensor,
        labels: Tensor,
        members: Tensor,
        sums: Evidence,
    ) -> Evidence:
        """Return the sums with counted images added, each classified by what is known without."""
        rows, carried = {"x": x, "labels": labels}, prefixed(SUMS, sums)
        fixed = {"members": members} | metric._asdict() | prefixed(STATE, state)
        after = fold_batches(self.program, "leave_one_out", rows, fixed, carried)
        return unprefixed(SUMS, after)

    def predict(self, state: LearnerState, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return class scores and probabilities [B, C]: -inf and 0 for unknown classes."""
        found = map_batches(self.program, "predict", {"x": x}, prefixed(STATE, state))
        return found["scores"], found["probabilities"]

    def begin_task(self, state: LearnerState, members: Tensor) -> LearnerState:
        """Return the adaptation's state, ready to train on the classes ``members`` [C] marks."""
        inputs = {"members": members} | prefixed(STATE, state)
        start = unprefixed(ADAPTATION, self.program.call("begin_task", inputs))
        return LearnerState({name: tuple(value.shape) for name, value in start.items()}, start)

    def zero_drift(self) -> Drift:
        """Return empty sums for `compare`."""
        layout = drift_layout(self.config, self.program.manifest.backbone.dim, self.classes)
        return Drift(**{name: torch.zeros(shape) for name, shape in layout.items()})

    def compare(
        self, drift: Drift, before: Tensor, after: Tensor, weight: Tensor, labels: Tensor
    ) -> Drift:
        """Return the sums with images added whose features [B, F] an adaptation has changed."""
        rows = {"before": before, "after": after, "weight": weight, "labels": labels}
        carried = prefixed(DRIFT, vars(drift))
        found = fold_batches(self.program, "compare", rows, {}, carried)
        return Drift(**unprefixed(DRIFT, found))

    def carry(self, state: LearnerState, drift: Drift) -> LearnerState:
        """Return the state with its statistics carried over an adaptation."""
        inputs = prefixed(DRIFT, vars(drift)) | prefixed(STATE, state)
        return state.replace(unprefixed(STATE, self.program.call("carry", inputs)))
