"""A bundle's program as a one-pass learner: the interface of `OnePassLearner`, run by ExecuTorch.

A program takes batches of one fixed size; here batches of any size are split and padded to it.
"""

import numpy as np

from cbpnet.host.arrays import Array
from cbpnet.host.errors import InputError
from cbpnet.host.random_streams import RandomStream
from cbpnet.method.config import ReadoutKind
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
from cbpnet.method.learner_interface import Drift, Evidence, Metric
from cbpnet.method.state import HostState
from mobile.device.batches import fold_batches, map_batches
from mobile.device.program import Program
from mobile.device.program_steps import ProgramSteps, empty_sums

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

    def stored_state(self) -> HostState:
        """Return the state that the bundle was exported with: what a server learnt, or nothing."""
        return HostState(self.layout, unprefixed(STATE, self.program.call("initial_state", {})))

    def initial_state(self, stream: RandomStream) -> HostState:
        """Return a state before any class is known, whatever the stored one knows."""
        manifest = self.program.manifest
        return draw_state(self.config, manifest.backbone.dim, self.classes, manifest.tasks, stream)

    def features(self, state: HostState, images: Array) -> Array:
        """Return the features x [B, F] of images in one pass."""
        fixed = prefixed(STATE, state)
        return map_batches(self.program, "features", {"images": images}, fixed)["x"]

    def confidence(self, images: Array) -> Array | None:
        """Return how sure the pretrained classifier is of each image [B]; None without one."""
        shape = self.layout.get("prompts.g")
        fixed = {} if shape is None else {f"{STATE}prompts.g": np.zeros(shape, np.float32)}
        found = map_batches(self.program, "features", {"images": images}, fixed)
        return found.get("confidence")

    def observe(self, state: HostState, x: Array, labels: Array) -> HostState:
        """Return the state with images counted, each image once."""
        carried = prefixed(STATE, state)
        after = fold_batches(self.program, "observe", {"x": x, "labels": labels}, {}, carried)
        return state.replace(unprefixed(STATE, after))

    def solve(self, state: HostState, prior: Array, scale: Array) -> tuple[HostState, Metric]:
        """Return the state with its readout solved, and the metric for `leave_one_out`."""
        inputs = {"prior": prior, "scale": scale} | prefixed(STATE, state)
        found = self.program.call("solve", inputs)
        metric = {name: value for name, value in found.items() if not name.startswith(STATE)}
        return state.replace(unprefixed(STATE, found)), metric

    def solve_as(self, kind: ReadoutKind, state: HostState) -> HostState:
        """Raise `InputError`: a program solves the readout that it was exported with."""
        raise InputError(
            f"the bundle has no readout {kind!r}; it must be {self.config.readout.kind!r}"
        )

    def zero_evidence(self) -> Evidence:
        """Return empty sums for `leave_one_out`."""
        return empty_sums(self.program, "leave_one_out")

    def leave_one_out(
        self,
        state: HostState,
        metric: Metric,
        x: Array,
        labels: Array,
        members: Array,
        sums: Evidence,
        copies: Array | None = None,
    ) -> Evidence:
        """Return the sums with counted images added, each classified by what is known without."""
        alone = np.ones(len(x), np.float32)
        rows = {"x": x, "labels": labels, "copies": alone if copies is None else copies}
        carried = prefixed(SUMS, sums)
        fixed = {"members": members} | metric | prefixed(STATE, state)
        after = fold_batches(self.program, "leave_one_out", rows, fixed, carried)
        return unprefixed(SUMS, after)

    def predict(self, state: HostState, x: Array) -> tuple[Array, Array, Array]:
        """Return class scores and probabilities [B, C], and unknown scores [B]."""
        found = map_batches(self.program, "predict", {"x": x}, prefixed(STATE, state))
        return found["scores"], found["probabilities"], found["unknown"]

    def begin_task(self, state: HostState, members: Array) -> HostState:
        """Return the adaptation's state, ready to train on the classes ``members`` [C] marks."""
        inputs = {"members": members} | prefixed(STATE, state)
        start = unprefixed(ADAPTATION, self.program.call("begin_task", inputs))
        return HostState({name: tuple(value.shape) for name, value in start.items()}, start)

    def zero_drift(self) -> Drift:
        """Return empty sums for `compare`."""
        layout = drift_layout(self.config, self.program.manifest.backbone.dim, self.classes)
        return {name: np.zeros(shape, np.float32) for name, shape in layout.items()}

    def compare(
        self, drift: Drift, before: Array, after: Array, weight: Array, labels: Array
    ) -> Drift:
        """Return the sums with images added whose features [B, F] an adaptation has changed."""
        rows = {"before": before, "after": after, "weight": weight, "labels": labels}
        carried = prefixed(DRIFT, drift)
        found = fold_batches(self.program, "compare", rows, {}, carried)
        return unprefixed(DRIFT, found)

    def carry(self, state: HostState, drift: Drift) -> HostState:
        """Return the state with its statistics carried over an adaptation."""
        inputs = prefixed(DRIFT, drift) | prefixed(STATE, state)
        return state.replace(unprefixed(STATE, self.program.call("carry", inputs)))
