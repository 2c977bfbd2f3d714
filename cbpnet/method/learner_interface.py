"""What training and evaluation need of a learner, wherever its functions run: on arrays.

They run in PyTorch (`cbpnet.method.eager`), or as a bundle's program (`mobile.device`).
"""

from collections.abc import Sequence
from typing import Protocol

from cbpnet.host.arrays import Array
from cbpnet.host.random_streams import RandomStream
from cbpnet.method.config import LearnerConfig, ReadoutKind
from cbpnet.method.state import HostState

__all__ = [
    "Drift",
    "Evidence",
    "GradientSums",
    "LearnerInterface",
    "Metric",
    "OnePassInterface",
    "StepInterface",
]

GradientSums = dict[str, Array]
Evidence = dict[str, Array]
# The arrays of `cbpnet.method.whitening.Whitening` and `cbpnet.method.drift.Drift`, by name.
Metric = dict[str, Array]
Drift = dict[str, Array]


class StepInterface(Protocol):
    """What training needs of a `cbpnet.method.learner.Learner`, where it is documented."""

    @property
    def config(self) -> LearnerConfig: ...

    @property
    def noise_shape(self) -> tuple[int, ...]: ...

    def zero_sums(self) -> GradientSums: ...

    def gradients(
        self,
        state: HostState,
        images: Array,
        query: Array,
        labels: Array,
        sums: GradientSums,
    ) -> GradientSums: ...

    def update(
        self, state: HostState, sums: GradientSums, noise: Array, rate: Array
    ) -> HostState: ...


class LearnerInterface(StepInterface, Protocol):
    """The pure functions of `cbpnet.method.learner.Learner`, where they are documented."""

    @property
    def classes(self) -> int: ...

    @property
    def tasks(self) -> int: ...

    def initial_state(self, stream: RandomStream) -> HostState: ...

    def query(self, images: Array) -> Array: ...

    def observe(self, state: HostState, query: Array, labels: Array) -> HostState: ...

    def begin_task(self, state: HostState, task: Array, members: Array) -> HostState: ...

    def scores(
        self,
        state: HostState,
        images: Array,
        query: Array,
        readouts: Sequence[ReadoutKind],
    ) -> tuple[dict[ReadoutKind, Array], Array]: ...


class OnePassInterface(Protocol):
    """The pure functions of `cbpnet.method.one_pass.OnePassLearner`, where they are documented."""

    @property
    def config(self) -> LearnerConfig: ...

    @property
    def classes(self) -> int: ...

    @property
    def adaptation(self) -> StepInterface: ...

    def initial_state(self, stream: RandomStream) -> HostState: ...

    def features(self, state: HostState, images: Array) -> Array: ...

    def confidence(self, images: Array) -> Array | None: ...

    def observe(self, state: HostState, x: Array, labels: Array) -> HostState: ...

    def solve(self, state: HostState, prior: Array, scale: Array) -> tuple[HostState, Metric]: ...

    def solve_as(self, kind: ReadoutKind, state: HostState) -> HostState: ...

    def zero_evidence(self) -> Evidence: ...

    def leave_one_out(
        self,
        state: HostState,
        metric: Metric,
        x: Array,
        labels: Array,
        members: Array,
        sums: Evidence,
        copies: Array | None = None,
    ) -> Evidence: ...

    def predict(self, state: HostState, x: Array) -> tuple[Array, Array, Array]: ...

    def begin_task(self, state: HostState, members: Array) -> HostState: ...

    def zero_drift(self) -> Drift: ...

    def compare(
        self, drift: Drift, before: Array, after: Array, weight: Array, labels: Array
    ) -> Drift: ...

    def carry(self, state: HostState, drift: Drift) -> HostState: ...
