"""What training needs of a bundle's program: gradients of a step's images, then an update."""

import numpy as np

from cbpnet.host.arrays import Array
from cbpnet.method.config import LearnerConfig
from cbpnet.method.layout import SUMS, MethodName, noise_shape, prefixed, unprefixed
from cbpnet.method.learner_interface import GradientSums
from cbpnet.method.state import HostState
from mobile.device.batches import fold_batches
from mobile.device.program import Program

__all__ = ["ProgramSteps", "empty_sums"]


def empty_sums(program: Program, method: MethodName) -> dict[str, Array]:
    """Return the sums that a method adds images to, before the first of them."""
    given = program.manifest.methods[method].outputs
    return unprefixed(SUMS, {tensor.name: np.zeros(tensor.shape, np.float32) for tensor in given})


class ProgramSteps:
    """The steps of `cbpnet.method.learner.Learner`, where they are documented, on a program.

    Attributes:
        program: whose methods run them.
        config: the settings of what is trained.
        prefix: what stands before the names of its state's tensors.
    """

    def __init__(self, program: Program, config: LearnerConfig, prefix: str) -> None:
        self.program, self.config, self.prefix = program, config, prefix

    @property
    def noise_shape(self) -> tuple[int, ...]:
        """The shape of the uniform random numbers in [0, 1) that `update` takes."""
        return noise_shape(self.config, self.program.manifest.backbone.dim)

    def zero_sums(self) -> GradientSums:
        """Return empty sums: one tensor a trainable, and the step's statistics."""
        return empty_sums(self.program, "gradients")

    def gradients(
        self,
        state: HostState,
        images: Array,
        query: Array,
        labels: Array,
        sums: GradientSums,
    ) -> GradientSums:
        """Return the sums with images of the current task added."""
        rows = {"images": images, "query": query, "labels": labels}
        fixed, carried = prefixed(self.prefix, state), prefixed(SUMS, sums)
        return unprefixed(SUMS, fold_batches(self.program, "gradients", rows, fixed, carried))

    def update(self, state: HostState, sums: GradientSums, noise: Array, rate: Array) -> HostState:
        """Return the state after one step."""
        inputs = {"noise": noise, "rate": rate} | prefixed(SUMS, sums)
        found = self.program.call("update", inputs | prefixed(self.prefix, state))
        return state.replace(unprefixed(self.prefix, found))
