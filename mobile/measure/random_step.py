"""A learning step on random numbers: what a bundle is given where only its cost counts."""

from dataclasses import dataclass

import torch
from torch import Tensor

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

    images: Tensor
    labels: Tensor
    members: Tensor
    noise: Tensor


def draw_random_step(program: Program) -> RandomStep:
    """Return the step of a program, the same at every call."""
    manifest, generator = program.manifest, torch.Generator().manual_seed(0)
    size = manifest.image_size
    images = torch.rand(manifest.micro_batch, 3, size, size, generator=generator)
    # As few of torch's operators as can be: the code of each counts as memory when first used.
    labels = [image % manifest.classes for image in range(manifest.micro_batch)]
    members = [float(number in labels) for number in range(manifest.classes)]
    steps = (
        OnePassProgram(program).adaptation if manifest.config.one_pass else ProgramLearner(program)
    )
    noise = torch.rand(steps.noise_shape, generator=generator)
    return RandomStep(images, torch.tensor(labels), torch.tensor(members), noise)
