"""The step of random numbers: its shapes, and that it fits the program that it is for."""

import numpy as np

from mobile.device.program import Program
from mobile.device.program_learner import ProgramLearner
from mobile.measure.random_step import draw_random_step


def test_it_is_a_micro_batch_of_the_first_classes(bundle):
    program = Program(bundle)
    step, again = draw_random_step(program), draw_random_step(program)
    assert step.images.shape == (2, 3, 8, 8)
    assert 0 <= step.images.min() < step.images.max() < 1
    assert step.labels.tolist() == [0, 1]
    assert step.members.tolist() == [1, 1, 0, 0, 0, 0]
    assert step.noise.shape == ProgramLearner(program).noise_shape
    assert np.array_equal(step.images, again.images)
    assert np.array_equal(step.noise, again.noise)
