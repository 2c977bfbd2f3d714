"""The learners on arrays give what their pure functions give on tensors, bit for bit."""

import numpy as np
import pytest
import torch

from cbpnet.host.random_streams import RandomStream
from cbpnet.method.config import (
    AdaptationConfig,
    BlockConfig,
    LearnerConfig,
    PromptConfig,
    ReadoutConfig,
)
from cbpnet.method.eager import EagerLearner, EagerOnePass
from cbpnet.method.learner import Learner
from cbpnet.method.one_pass import OnePassLearner
from cbpnet.method.tensors import as_tensors

DIM, CLASSES = 12, 4
LABELS = [0, 1, 1, 0, 1]
MEMBERS = [1.0, 1.0, 0.0, 0.0]


def assert_equal(found, expected):
    """Arrays without gradient, and the numbers of tensors, both by name."""
    assert found.keys() == expected.keys()
    for name, value in found.items():
        assert isinstance(value, np.ndarray)
        np.testing.assert_array_equal(value, expected[name].detach(), err_msg=name)


def one_pass(toy_extractor, readout="whitened"):
    config = LearnerConfig(
        PromptConfig((0, 2), 2, (), 1),
        readout=ReadoutConfig(readout),
        adaptation=AdaptationConfig("always"),
    )
    return OnePassLearner(toy_extractor(DIM), config, CLASSES)


@pytest.fixture
def images():
    return np.random.default_rng(3).standard_normal((len(LABELS), 3, 4, 4), np.float32)


def test_a_learner_on_arrays(toy_extractor, images):
    config = LearnerConfig(
        PromptConfig((0,), 2, (1, 3), 2), BlockConfig(5), readout=ReadoutConfig("rls", features=3)
    )
    plain = Learner(toy_extractor(DIM), config, CLASSES, 2)
    eager = EagerLearner(plain)
    assert (eager.classes, eager.tasks) == (CLASSES, 2)
    assert (eager.config, eager.noise_shape) == (plain.config, plain.noise_shape)
    shown, labels, given = torch.from_numpy(images), torch.tensor(LABELS), np.array(LABELS)
    task, rate, members = np.zeros(1, np.float32), np.ones(1, np.float32), np.float32(MEMBERS)

    state, expected = (each.initial_state(RandomStream(1, 0)) for each in (eager, plain))
    assert_equal(state, expected)
    query, wanted = eager.query(images), plain.query(shown)
    assert_equal({"query": query}, {"query": wanted})
    state, expected = eager.observe(state, query, given), plain.observe(expected, wanted, labels)
    assert_equal(state, expected)
    state = eager.begin_task(state, task, members)
    expected = plain.begin_task(expected, torch.zeros(1), torch.tensor(MEMBERS))
    assert_equal(state, expected)
    sums = eager.gradients(state, images, query, given, eager.zero_sums())
    their_sums = plain.gradients(expected, shown, wanted, labels, plain.zero_sums())
    assert_equal(sums, their_sums)
    noise = RandomStream(1, 1).uniform(*plain.noise_shape)
    state = eager.update(state, sums, noise, rate)
    expected = plain.update(expected, their_sums, torch.from_numpy(noise), torch.ones(1))
    assert_equal(state, expected)
    scores, chosen = eager.scores(state, images, query, ["none", "rls"])
    their_scores, their_choice = plain.scores(expected, shown, wanted, ["none", "rls"])
    assert_equal(scores | {"task": chosen}, their_scores | {"task": their_choice})
    predicted, _ = eager.predict(state, images, query)
    np.testing.assert_array_equal(predicted, scores["rls"])


def test_a_one_pass_learner_on_arrays(toy_extractor, images):
    plain = one_pass(toy_extractor)
    eager = EagerOnePass(plain)
    assert (eager.classes, eager.config) == (CLASSES, plain.config)
    assert eager.adaptation.noise_shape == plain.adaptation.noise_shape
    assert eager.confidence(images) is None  # a toy extractor has no classifier
    shown, labels, given = torch.from_numpy(images), torch.tensor(LABELS), np.array(LABELS)
    members = np.float32(MEMBERS)

    state, expected = (each.initial_state(RandomStream(1, 0)) for each in (eager, plain))
    assert_equal(state, expected)
    x, wanted = eager.features(state, images), plain.features(expected, shown)
    assert_equal({"x": x}, {"x": wanted})
    state, expected = eager.observe(state, x, given), plain.observe(expected, wanted, labels)
    assert_equal(state, expected)
    state, metric = eager.solve(state, state["readout.prior"], state["readout.scale"])
    expected, theirs = plain.solve(expected, expected["readout.prior"], expected["readout.scale"])
    assert_equal(state, expected)
    assert_equal(metric, theirs._asdict())
    evidence = eager.leave_one_out(state, metric, x, given, members, eager.zero_evidence())
    their_evidence = plain.leave_one_out(
        expected, theirs, wanted, labels, torch.tensor(MEMBERS), plain.zero_evidence()
    )
    assert_equal(evidence, their_evidence)
    for found, one in zip(eager.predict(state, x), plain.predict(expected, wanted), strict=True):
        np.testing.assert_array_equal(found, one)
    begun = eager.begin_task(state, members)
    assert_equal(begun, plain.begin_task(expected, torch.tensor(MEMBERS)))

    moved, weight = x + 1, np.ones(len(LABELS), np.float32)
    drift = eager.compare(eager.zero_drift(), x, moved, weight, given)
    their_drift = plain.compare(
        plain.zero_drift(), wanted, wanted + 1, torch.from_numpy(weight), labels
    )
    assert_equal(drift, vars(their_drift))
    assert_equal(eager.carry(state, drift), plain.carry(expected, their_drift))


@pytest.mark.parametrize("kind", ["means", "rls"])
def test_another_readout_is_that_of_a_learner_of_its_kind(toy_extractor, images, kind):
    eager, other = EagerOnePass(one_pass(toy_extractor)), one_pass(toy_extractor, kind)
    start = eager.initial_state(RandomStream(1, 0))
    state = eager.observe(start, eager.features(start, images), np.array(LABELS))
    known = as_tensors(state)
    expected, _ = other.solve(known, known["readout.prior"], known["readout.scale"])
    assert_equal(eager.solve_as(kind, state), expected)
