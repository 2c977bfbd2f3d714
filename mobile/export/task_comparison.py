"""A bundle of the paper's learner beside the learner in PyTorch."""

import torch

from cbpnet.method.layout import part, stored_in
from cbpnet.method.learner import Learner
from cbpnet.method.state import LearnerState
from cbpnet.run.training import begin_task
from mobile.device.program import Program
from mobile.device.program_learner import ProgramLearner
from mobile.export.comparison import Agreement, Comparison, Patterns, furthest
from quantize.distance import flat_cosine

__all__ = ["compare_tasks"]


def compare_tasks(
    program: Program, learner: Learner, patterns: Patterns, forward_runs: bool
) -> Comparison:
    """Query, predict and take a step; without the first two where ``forward_runs`` is false."""
    bundle = ProgramLearner(program)
    images, labels, generator = patterns.images, patterns.labels, patterns.generator
    start = learner.initial_state(generator)
    with torch.no_grad():
        query = learner.query(images)
        known = _stirred(begin_task(learner, start, 0, query, labels), generator)
        scores, _ = learner.predict(known, images, query)
    expected = learner.gradients(known, images, query, labels, learner.zero_sums())
    found = bundle.gradients(known, images, query, labels, bundle.zero_sums())
    agreement = Agreement(
        flat_cosine(query, bundle.query(images)) if forward_runs else None,
        furthest(scores, bundle.predict(known, images, query)[0]) if forward_runs else None,
        {name: flat_cosine(expected[name], found[name]) for name in learner.trainables},
    )
    noise = torch.rand(bundle.noise_shape, generator=generator)
    after = bundle.update(known, found, noise, torch.ones(1))
    return Comparison(agreement, known, after, known)


def _stirred(state: LearnerState, generator: torch.Generator) -> LearnerState:
    """Return a state in which every trainable has a gradient to speak of.

    A block that gives nothing, as at the start, hides W_in; a key at its images' mean has none.
    """
    stirred = {
        name: value + 0.1 * torch.randn(value.shape, generator=generator)
        for name, value in state.items()
        if part(name) == "block" or name == stored_in("prompts.key")
    }
    return state.replace(stirred)
