"""A bundle's program as a learner: the interface of `Learner`, run by ExecuTorch.

A program takes batches of one fixed size; here batches of any size are split and padded to it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from cbpnet.host.errors import InputError
from cbpnet.method.config import LearnerConfig, ReadoutKind
from cbpnet.method.initial import draw_state
from cbpnet.method.layout import STATE, SUMS, MethodName, noise_shape, prefixed, unprefixed
from cbpnet.method.learner_interface import GradientSums
from cbpnet.method.state import LearnerState
from mobile.device.program import Program

__all__ = ["ProgramLearner"]

_PADDING = -1  # a label that no class has


class ProgramLearner:
    """The learner of a bundle; the methods are documented at `cbpnet.method.learner.Learner`.

    Attributes:
        config: the settings that it was exported with.
        classes: capacity C in classes.
        tasks: capacity T in tasks.
        layout: names and shapes of the state's tensors.
        release: gives back the memory of all methods, see `mobile.device.program.Program.release`.
    """

    def __init__(self, program: Program) -> None:
        self._call: Callable[[MethodName, Mapping[str, Tensor]], dict[str, Tensor]] = program.call
        self.release: Callable[[], None] = program.release
        self._manifest = program.manifest
        self.config: LearnerConfig = program.manifest.config
        self.classes = program.manifest.classes
        self.tasks = program.manifest.tasks
        self.layout = program.manifest.layout

    @property
    def noise_shape(self) -> tuple[int, ...]:
        """The shape of the uniform random numbers in [0, 1) that `update` takes."""
        return noise_shape(self.config, self._manifest.backbone.dim)

    def stored_state(self) -> LearnerState:
        """Return the state that the bundle was exported with: what a server learnt, or nothing."""
        return LearnerState(self.layout, unprefixed(STATE, self._call("initial_state", {})))

    def initial_state(self, generator: torch.Generator) -> LearnerState:
        """Return a state before any class is known, whatever the stored one knows."""
        dim = self._manifest.backbone.dim
        return draw_state(self.config, dim, self.classes, self.tasks, generator)

    def query(self, images: Tensor) -> Tensor:
        """Return the query features [B, D]."""
        found = [
            self._call("query", {"images": part})["query"][:real]
            for real, (part,) in self._parts(images)
        ]
        return torch.cat(found)

    def observe(self, state: LearnerState, query: Tensor, labels: Tensor) -> LearnerState:
        """Return the state with images counted into class means and readout."""
        for real, (features, wanted) in self._parts(query, labels):
            inputs = {"query": features, "labels": _masked(wanted, real)}
            state = self._changed("observe", state, inputs)
        return state

    def begin_task(self, state: LearnerState, task: Tensor, members: Tensor) -> LearnerState:
        """Return the state ready to learn a task whose images have been observed."""
        return self._changed("begin_task", state, {"task": task, "members": members})

    def predict(self, state: LearnerState, images: Tensor, query: Tensor) -> tuple[Tensor, Tensor]:
        """Return class scores [B, C], -inf for unknown classes, and the one-hot task [B, T]."""
        kind = self.config.readout.kind
        scores, chosen = self.scores(state, images, query, [kind])
        return scores[kind], chosen

    def scores(
        self,
        state: LearnerState,
        images: Tensor,
        query: Tensor,
        readouts: Sequence[ReadoutKind],
    ) -> tuple[dict[ReadoutKind, Tensor], Tensor]:
        """Return the scores with each of several readouts, and the one-hot task [B, T].

        Raises:
            InputError: the program was not exported with a readout.
        """
        outputs: dict[ReadoutKind, str] = {"none": "network_scores"}
        outputs[self.config.readout.kind] = "scores"
        for kind in readouts:
            if kind not in outputs:
                raise InputError(
                    f"the bundle has no readout {kind!r}; it must be one of {', '.join(outputs)}"
                )
        inputs = prefixed(STATE, state)
        found: dict[str, list[Tensor]] = {name: [] for name in ("task", *outputs.values())}
        for real, (pixels, features) in self._parts(images, query):
            answer = self._call("predict", inputs | {"images": pixels, "query": features})
            for name, values in found.items():
                values.append(answer[name][:real])
        joined = {name: torch.cat(values) for name, values in found.items()}
        return {kind: joined[outputs[kind]] for kind in readouts}, joined["task"]

    def zero_sums(self) -> GradientSums:
        """Return empty sums: one tensor a trainable, and the step's statistics."""
        given = self._manifest.methods["gradients"].outputs
        return unprefixed(SUMS, {tensor.name: torch.zeros(tensor.shape) for tensor in given})

    def gradients(
        self,
        state: LearnerState,
        images: Tensor,
        query: Tensor,
        labels: Tensor,
        sums: GradientSums,
    ) -> GradientSums:
        """Return the sums with images of the current task added."""
        inputs = prefixed(STATE, state)
        for real, (pixels, features, wanted) in self._parts(images, query, labels):
            batch = {"images": pixels, "query": features, "labels": _masked(wanted, real)}
            found = self._call("gradients", inputs | batch | prefixed(SUMS, sums))
            sums = unprefixed(SUMS, found)
        return sums

    def update(
        self, state: LearnerState, sums: GradientSums, noise: Tensor, rate: Tensor
    ) -> LearnerState:
        """Return the state after one step."""
        inputs = {"noise": noise, "rate": rate} | prefixed(SUMS, sums)
        return self._changed("update", state, inputs)

    def _changed(
        self, method: MethodName, state: LearnerState, inputs: Mapping[str, Tensor]
    ) -> LearnerState:
        found = self._call(method, {**prefixed(STATE, state), **inputs})
        return state.replace(unprefixed(STATE, found))

    def _parts(self, *tensors: Tensor) -> Iterator[tuple[int, list[Tensor]]]:
        """Yield batches of the program's size and how many of their rows are real.

        The last row is repeated as padding: numbers that the network is made for.
        """
        size = self._manifest.micro_batch
        for parts in zip(*(tensor.split(size) for tensor in tensors), strict=True):
            real = len(parts[0])
            if real < size:
                rows = torch.arange(size).clamp(max=real - 1)
                parts = tuple(part[rows] for part in parts)
            yield real, list(parts)


def _masked(labels: Tensor, real: int) -> Tensor:
    """Return labels of which all after the real ones mark padding."""
    if real == len(labels):
        return labels
    return labels.where(torch.arange(len(labels)) < real, _PADDING)
