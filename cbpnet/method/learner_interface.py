"""What training and evaluation need of a learner, wherever its functions run."""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from cbpnet.method.config import LearnerConfig, ReadoutKind
from cbpnet.method.state import LearnerState

__all__ = ["GradientSums", "LearnerInterface"]

GradientSums = dict[str, Tensor]


class LearnerInterface(Protocol):
    """The pure functions of `cbpnet.method.learner.Learner`, where they are documented.

    Its other form is a bundle's program (`mobile.device.program_learner`).
    """

    @property
    def config(self) -> LearnerConfig: ...

    @property
    def classes(self) -> int: ...

    @property
    def tasks(self) -> int: ...

    @property
    def noise_shape(self) -> tuple[int, ...]: ...

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
