"""A bundle's program as a learner: the interface of `Learner`, run by ExecuTorch.

A program takes batches of one fixed size; here batches of any size are split and padded to it.
"""

from collections.abc import Sequence

from cbpnet.host.arrays import Array
from cbpnet.host.errors import InputError
from cbpnet.host.random_streams import RandomStream
from cbpnet.method.config import ReadoutKind
from cbpnet.method.initial import draw_state
from cbpnet.method.layout import STATE, prefixed, unprefixed
from cbpnet.method.state import HostState
from mobile.device.batches import fold_batches, map_batches
from mobile.device.program import Program
from mobile.device.program_steps import ProgramSteps

__all__ = ["ProgramLearner"]


class ProgramLearner(ProgramSteps):
    """The learner of a bundle; the methods are documented at `cbpnet.method.learner.Learner`.

    Attributes:
        classes: capacity C in classes.
        tasks: capacity T in tasks.
        layout: names and shapes of the state's tensors.
    """

    def __init__(self, program: Program) -> None:
        manifest = program.manifest
        super().__init__(program, manifest.config, STATE)
        self.classes, self.tasks, self.layout = manifest.classes, manifest.tasks, manifest.layout

    def stored_state(self) -> HostState:
        """Return the state that the bundle was exported with: what a server learnt, or nothing."""
        return HostState(self.layout, unprefixed(STATE, self.program.call("initial_state", {})))

    def initial_state(self, stream: RandomStream) -> HostState:
        """Return a state before any class is known, whatever the stored one knows."""
        dim = self.program.manifest.backbone.dim
        return draw_state(self.config, dim, self.classes, self.tasks, stream)

    def query(self, images: Array) -> Array:
        """Return the query features [B, D]."""
        return map_batches(self.program, "query", {"images": images}, {})["query"]

    def observe(self, state: HostState, query: Array, labels: Array) -> HostState:
        """Return the state with images counted into class means and readout."""
        rows, carried = {"query": query, "labels": labels}, prefixed(STATE, state)
        after = fold_batches(self.program, "observe", rows, {}, carried)
        return state.replace(unprefixed(STATE, after))

    def begin_task(self, state: HostState, task: Array, members: Array) -> HostState:
        """Return the state ready to learn a task whose images have been observed."""
        inputs = {"task": task, "members": members} | prefixed(STATE, state)
        return state.replace(unprefixed(STATE, self.program.call("begin_task", inputs)))

    def predict(self, state: HostState, images: Array, query: Array) -> tuple[Array, Array]:
        """Return class scores [B, C], -inf for unknown classes, and the one-hot task [B, T]."""
        kind = self.config.readout.kind
        scores, chosen = self.scores(state, images, query, [kind])
        return scores[kind], chosen

    def scores(
        self,
        state: HostState,
        images: Array,
        query: Array,
        readouts: Sequence[ReadoutKind],
    ) -> tuple[dict[ReadoutKind, Array], Array]:
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
        rows = {"images": images, "query": query}
        found = map_batches(self.program, "predict", rows, prefixed(STATE, state))
        return {kind: found[outputs[kind]] for kind in readouts}, found["task"]
