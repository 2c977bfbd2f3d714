"""A learner's pure functions in PyTorch, as a host calls them: on arrays.

The classes here have the methods of `cbpnet.method.learner_interface`, which are documented at the
learners themselves.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch

from cbpnet.host.arrays import Array
from cbpnet.host.random_streams import RandomStream
from cbpnet.method.config import LearnerConfig, ReadoutKind
from cbpnet.method.drift import Drift
from cbpnet.method.initial import draw_state
from cbpnet.method.learner import Learner
from cbpnet.method.one_pass import OnePassLearner, solve_state
from cbpnet.method.state import HostState
from cbpnet.method.tensors import (
    array_of,
    arrays_of,
    as_arrays,
    as_tensors,
    tensor_of,
    tensors_of,
)
from cbpnet.method.whitening import Whitening

__all__ = ["EagerLearner", "EagerOnePass"]

_Arrays = dict[str, Array]


class EagerLearner:
    """A `Learner` on arrays."""

    def __init__(self, learner: Learner) -> None:
        self._learner = learner
        self.config: LearnerConfig = learner.config
        self.classes, self.tasks = learner.classes, learner.tasks

    @property
    def noise_shape(self) -> tuple[int, ...]:
        return self._learner.noise_shape

    def initial_state(self, stream: RandomStream) -> HostState:
        own = self._learner
        return draw_state(self.config, own.backbone.dim, self.classes, self.tasks, stream)

    @torch.no_grad()
    def query(self, images: Array) -> Array:
        return array_of(self._learner.query(tensor_of(images)))

    @torch.no_grad()
    def observe(self, state: HostState, query: Array, labels: Array) -> HostState:
        given = tensor_of(query), tensor_of(labels)
        return as_arrays(self._learner.observe(as_tensors(state), *given))

    @torch.no_grad()
    def begin_task(self, state: HostState, task: Array, members: Array) -> HostState:
        given = tensor_of(task), tensor_of(members)
        return as_arrays(self._learner.begin_task(as_tensors(state), *given))

    def zero_sums(self) -> _Arrays:
        return arrays_of(self._learner.zero_sums())

    def gradients(
        self, state: HostState, images: Array, query: Array, labels: Array, sums: _Arrays
    ) -> _Arrays:
        given = tensor_of(images), tensor_of(query), tensor_of(labels)
        found = self._learner.gradients(as_tensors(state), *given, tensors_of(sums))
        return arrays_of(found)

    @torch.no_grad()
    def update(self, state: HostState, sums: _Arrays, noise: Array, rate: Array) -> HostState:
        given = tensors_of(sums), tensor_of(noise), tensor_of(rate)
        return as_arrays(self._learner.update(as_tensors(state), *given))

    @torch.no_grad()
    def scores(
        self, state: HostState, images: Array, query: Array, readouts: Sequence[ReadoutKind]
    ) -> tuple[dict[ReadoutKind, Array], Array]:
        given = tensor_of(images), tensor_of(query)
        scores, chosen = self._learner.scores(as_tensors(state), *given, readouts)
        return {kind: array_of(found) for kind, found in scores.items()}, array_of(chosen)

    @torch.no_grad()
    def predict(self, state: HostState, images: Array, query: Array) -> tuple[Array, Array]:
        given = tensor_of(images), tensor_of(query)
        scores, chosen = self._learner.predict(as_tensors(state), *given)
        return array_of(scores), array_of(chosen)


class EagerOnePass:
    """A `OnePassLearner` on arrays."""

    def __init__(self, learner: OnePassLearner) -> None:
        self._learner = learner
        self.config: LearnerConfig = learner.config
        self.classes = learner.classes
        self.adaptation = EagerLearner(learner.adaptation)

    def initial_state(self, stream: RandomStream) -> HostState:
        return draw_state(self.config, self._learner.backbone.dim, self.classes, 1, stream)

    @torch.no_grad()
    def features(self, state: HostState, images: Array) -> Array:
        return array_of(self._learner.features(as_tensors(state), tensor_of(images)))

    @torch.no_grad()
    def confidence(self, images: Array) -> Array | None:
        found = self._learner.confidence(tensor_of(images))
        return None if found is None else array_of(found)

    @torch.no_grad()
    def observe(self, state: HostState, x: Array, labels: Array) -> HostState:
        given = tensor_of(x), tensor_of(labels)
        return as_arrays(self._learner.observe(as_tensors(state), *given))

    @torch.no_grad()
    def solve(self, state: HostState, prior: Array, scale: Array) -> tuple[HostState, _Arrays]:
        given = tensor_of(prior), tensor_of(scale)
        solved, metric = self._learner.solve(as_tensors(state), *given)
        return as_arrays(solved), arrays_of(metric._asdict())

    @torch.no_grad()
    def solve_as(self, kind: ReadoutKind, state: HostState) -> HostState:
        """Return the state with a readout of another kind, solved from the same statistics."""
        known = as_tensors(state)
        readout = replace(self.config.readout, kind=kind)
        solved, _ = solve_state(readout, known, known["readout.prior"], known["readout.scale"])
        return as_arrays(solved)

    def zero_evidence(self) -> _Arrays:
        return arrays_of(self._learner.zero_evidence())

    @torch.no_grad()
    def leave_one_out(
        self,
        state: HostState,
        metric: _Arrays,
        x: Array,
        labels: Array,
        members: Array,
        sums: _Arrays,
        copies: Array | None = None,
    ) -> _Arrays:
        given = tensor_of(x), tensor_of(labels), tensor_of(members)
        found = self._learner.leave_one_out(
            as_tensors(state),
            Whitening(**tensors_of(metric)),
            *given,
            tensors_of(sums),
            None if copies is None else tensor_of(copies),
        )
        return arrays_of(found)

    @torch.no_grad()
    def predict(self, state: HostState, x: Array) -> tuple[Array, Array, Array]:
        scores, probabilities, unknown = self._learner.predict(as_tensors(state), tensor_of(x))
        return array_of(scores), array_of(probabilities), array_of(unknown)

    @torch.no_grad()
    def begin_task(self, state: HostState, members: Array) -> HostState:
        return as_arrays(self._learner.begin_task(as_tensors(state), tensor_of(members)))

    def zero_drift(self) -> _Arrays:
        return arrays_of(vars(self._learner.zero_drift()))

    @torch.no_grad()
    def compare(
        self, drift: _Arrays, before: Array, after: Array, weight: Array, labels: Array
    ) -> _Arrays:
        given = tensor_of(before), tensor_of(after), tensor_of(weight), tensor_of(labels)
        found = self._learner.compare(Drift(**tensors_of(drift)), *given)
        return arrays_of(vars(found))

    @torch.no_grad()
    def carry(self, state: HostState, drift: _Arrays) -> HostState:
        sums = Drift(**tensors_of(drift))
        return as_arrays(self._learner.carry(as_tensors(state), sums))
