"""A learning step on random numbers: what a bundle is given where only its cost counts."""

from dataclasses import dataclass

import numpy as np

from cbpnet.host.arrays import Array
from cbpnet.host.random_streams import RandomStream
from cbpnet.run.training import members_of
from mobile.device.one_pass_program import OnePassProgram
from mobile.device.program import Program
from mobile.device.program_learner import ProgramLearner

__all__ = ["RandomStep", "draw_random_step"]


@dataclass(frozen=True)
class RandomStep:
    """A lesson's only micro-batch of B images and its update, for a learner of C classes.

    ``images`` [B, 3, S, S] are uniform in [0, 1), ``labels`` [B] the first classes in turn,
    ``members`` [C] is 1 for these, ``noise`` is that of `LearnerInterface.update`.
    """

    images: Array
    labels: Array
    members: Array
    noise: Array


def draw_random_step(program: Program) -> RandomStep:
    """Return the step of a program, the same at every call."""
    manifest, stream = program.manifest, RandomStream(0, 0)
    size = manifest.image_size
    images = stream.uniform(manifest.micro_batch, 3, size, size)
    labels = np.arange(manifest.micro_batch) % manifest.classes
    steps = (
        OnePassProgram(program).adaptation if manifest.config.one_pass else ProgramLearner(program)
    )
    noise = stream.uniform(*steps.noise_shape)
    return RandomStep(images, labels, members_of(manifest.classes, labels), noise)
