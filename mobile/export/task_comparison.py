"""A bundle of the paper's learner beside the learner in PyTorch."""

import numpy as np

from cbpnet.host.random_streams import RandomStream
from cbpnet.method.eager import EagerLearner
from cbpnet.method.layout import part, stored_in
from cbpnet.method.learner import Learner
from cbpnet.method.state import HostState
from cbpnet.run.training import begin_task
from mobile.device.program import Program
from mobile.device.program_learner import ProgramLearner
from mobile.export.comparison import Agreement, Comparison, Patterns, cosine, furthest

__all__ = ["compare_tasks"]


def compare_tasks(
    program: Program, learner: Learner, patterns: Patterns, forward_runs: bool
) -> Comparison:
    """Query, predict and take a step; without the first two where ``forward_runs`` is false."""
    bundle, exact = ProgramLearner(program), EagerLearner(learner)
    images, labels, stream = patterns.images, patterns.labels, patterns.stream
    query = exact.query(images)
    begun = begin_task(exact, exact.initial_state(stream), 0, query, labels)
    known = _stirred(begun, stream)
    scores, _ = exact.predict(known, images, query)
    expected = exact.gradients(known, images, query, labels, exact.zero_sums())
    found = bundle.gradients(known, images, query, labels, bundle.zero_sums())
    agreement = Agreement(
        cosine(query, bundle.query(images)) if forward_runs else None,
        furthest(scores, bundle.predict(known, images, query)[0]) if forward_runs else None,
        {name: cosine(expected[name], found[name]) for name in learner.trainables},
    )
    noise = stream.uniform(*bundle.noise_shape)
    after = bundle.update(known, found, noise, np.ones(1, np.float32))
    return Comparison(agreement, known, after, known)


def _stirred(state: HostState, stream: RandomStream) -> HostState:
    """Return a state in which every trainable has a gradient to speak of.

    A block that gives nothing, as at the start, hides W_in; a key at its images' mean has none.
    """
    stirred = {
        name: value + np.float32(0.1) * stream.normal(*value.shape)
        for name, value in state.items()
        if part(name) == "block" or name == stored_in("prompts.key")
    }
    return state.replace(stirred)
