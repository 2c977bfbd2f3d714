"""What training and evaluation need of a learner, wherever its functions run."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

from cbpnet.method.config import LearnerConfig, ReadoutKind
from cbpnet.method.drift import Drift
from cbpnet.method.state import LearnerState
from cbpnet.method.whitening import Whitening

__all__ = ["Evidence", "GradientSums", "LearnerInterface", "OnePassInterface", "StepInterface"]

GradientSums = dict[str, Tensor]
Evidence = dict[str, Tensor]


class StepInterface(Protocol):
    """What training needs of a `cbpnet.method.learner.Learner`, where it is documented."""

    @property
    def config(self) -> LearnerConfig: ...

    @property
    def noise_shape(self) -> tuple[int, ...]: ...

    def zero_sums(self) -> GradientSums: ...

    def gradients(
        self,
        state: LearnerState,
        images: Tensor,
        query: Tensor,
        labels: Tensor,
        sums: GradientSums,
    ) -> GradientSums: ...

    def update(
        self, state: LearnerState, sums: GradientSums, noise: Tensor, rate: Tensor
    ) -> LearnerState: ...


class LearnerInterface(StepInterface, Protocol):
    """The pure functions of `cbpnet.method.learner.Learner`, where they are documented.

    Its other form is a bundle's program (`mobile.device.program_learner`).
    """

    @property
    def classes(self) -> int: ...

    @property
    def tasks(self) -> int: ...

    def initial_state(self, generator: torch.Generator) -> LearnerState: ...

    def query(self, images: Tensor) -> Tensor: ...

    def observe(self, state: LearnerState, query: Tensor, labels: Tensor) -> LearnerState: ...

    def begin_task(self, state: LearnerState, task: Tensor, members: Tensor) -> LearnerState: ...

    def scores(
        self,
        state: LearnerState,
        images: Tensor,
        query: Tensor,
        readouts: Sequence[ReadoutKind],
    ) -> tuple[dict[ReadoutKind, Tensor], Tensor]: ...


class OnePassInterface(Protocol):
    """The pure functions of `cbpnet.method.one_pass.OnePassLearner`, where they are documented.

    Its other form is a bundle's program (`mobile.device.one_pass_program`).
    """

    @property
    def config(self) -> LearnerConfig: ...

    @property
    def classes(self) -> int: ...

    @property
    def adaptation(self) -> StepInterface: ...

    def initial_state(self, generator: torch.Generator) -> LearnerState: ...

    def features(self, state: Mapping[str, Tensor], images: Tensor) -> Tensor: ...

    def confidence(self, images: Tensor) -> Tensor | None: ...

    def observe(self, state: LearnerState, x: Tensor, labels: Tensor) -> LearnerState: ...

    def solve(
        self, state: LearnerState, prior: Tensor, scale: Tensor
    ) -> tuple[LearnerState, Whitening]: ...

    def zero_evidence(self) -> Evidence: ...

    def leave_one_out(
        self,
        state: LearnerState,
        metric: Whitening,
        x: Tensor,
        labels: Tensor,
        members: Tensor,
        sums: Evidence,
    ) -> Evidence: ...

    def predict(self, state: LearnerState, x: Tensor) -> tuple[Tensor, Tensor]: ...

    def begin_task(self, state: LearnerState, members: Tensor) -> LearnerState: ...

    def zero_drift(self) -> Drift: ...

    def compare(
        self, drift: Drift, before: Tensor, after: Tensor, weight: Tensor, labels: Tensor
    ) -> Drift: ...

    def carry(self, state: LearnerState, drift: Drift) -> LearnerState: ...
