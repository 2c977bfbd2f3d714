"""A one-pass bundle does what the learner in PyTorch does, for batches of any size."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

from cbpnet.data.preprocessing import Preprocessing
from cbpnet.host.random_streams import RandomStream
from cbpnet.run.lesson import learn_lesson
from cbpnet.run.training import LessonImages, TrainingConfig
from mobile.device.one_pass_program import OnePassProgram
from mobile.device.program import Program

from ..toy_bundles import toy_one_pass_learner

PREPROCESSING = Preprocessing(8, (0.5,) * 3, (0.5,) * 3, "bilinear", 1.0)
CLASSES = 6


@pytest.fixture(scope="module")
def learner(one_pass_bundle):
    return OnePassProgram(Program(one_pass_bundle))


def lesson(classes, each=5, seed=0):
    labels = np.repeat(classes, each)
    patterns = RandomStream(9, 0).uniform(CLASSES, 8, 8, 3)
    noise = RandomStream(seed, 0).normal(len(labels), 8, 8, 3)
    pixels = 255 * (patterns[labels] + 0.3 * noise).clip(0, 1)
    return LessonImages(pixels.astype(np.uint8), labels)


def images_of(shown):
    return shown.batch(np.arange(len(shown.labels)), PREPROCESSING)


def numbers(*values):
    return np.array(values, np.float32)


def known(eager, learner):
    """A state that has counted some images and has its readout."""
    shown = lesson([0, 1, 2, 3])
    state = learner.stored_state()
    counted = eager.observe(state, eager.features(state, images_of(shown)), shown.labels)
    return eager.solve(counted, numbers(0.3), numbers(2))


def random_like(sums):
    random = RandomStream(1, 0)
    return {name: random.uniform(*value.shape) for name, value in sums.items()}


def assert_same(found, expected, rtol=1e-4, atol=1e-5):
    assert list(found) == list(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=rtol, atol=atol, err_msg=name)


def test_it_describes_itself_as_the_learner_does(learner, one_pass_eager):
    for name in ("config", "classes"):
        assert getattr(learner, name) == getattr(one_pass_eager, name), name
    assert learner.layout == toy_one_pass_learner().layout
    assert learner.adaptation.config == one_pass_eager.adaptation.config
    assert learner.adaptation.noise_shape == one_pass_eager.adaptation.noise_shape
    assert_same(learner.zero_evidence(), one_pass_eager.zero_evidence())
    assert_same(learner.zero_drift(), one_pass_eager.zero_drift())
    assert_same(learner.adaptation.zero_sums(), one_pass_eager.adaptation.zero_sums())


def test_the_initial_state_of_a_seed_is_the_same_and_the_stored_one_is_exact(
    learner, one_pass_eager
):
    drawn = learner.initial_state(RandomStream(4, 0))
    for found, seed in ((drawn, 4), (learner.stored_state(), 2)):
        expected = one_pass_eager.initial_state(RandomStream(seed, 0))
        assert_same(found, expected, rtol=0, atol=0)


@pytest.mark.parametrize("size", [1, 2, 5])
def test_a_pass_and_the_closed_form_of_any_batch(learner, one_pass_eager, size):
    state, _ = known(one_pass_eager, learner)
    shown = lesson([1, 4], seed=size)
    images, labels = images_of(shown)[:size], shown.labels[:size]
    x = one_pass_eager.features(state, images)
    np.testing.assert_allclose(learner.features(state, images), x, rtol=1.3e-6, atol=1e-5)
    for found, expected in zip(
        learner.predict(state, x), one_pass_eager.predict(state, x), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    labels[0] = -1  # padding that is not at the end
    assert_same(learner.observe(state, x, labels), one_pass_eager.observe(state, x, labels))
    counted = one_pass_eager.observe(state, x, labels)
    _, metric = one_pass_eager.solve(counted, numbers(0.3), numbers(2))
    rest = counted, metric, x, labels, np.ones(CLASSES, np.float32)
    sums = random_like(learner.zero_evidence())
    assert_same(learner.leave_one_out(*rest, sums), one_pass_eager.leave_one_out(*rest, sums))


def test_the_solution_is_the_same(learner, one_pass_eager):
    state, metric = known(one_pass_eager, learner)
    found, found_metric = learner.solve(state, numbers(0.3), numbers(2))
    assert_same(found_metric, metric, rtol=1e-3, atol=1e-4)
    assert_same(found, state, rtol=1e-3, atol=1e-3)


def test_without_a_classifier_nobody_is_asked_how_sure_it_is(learner):
    assert learner.confidence(images_of(lesson([0], each=2))) is None


@pytest.mark.parametrize("size", [1, 2, 5])
def test_an_adaptation_of_any_batch(learner, one_pass_eager, size):
    state, _ = known(one_pass_eager, learner)
    members = numbers(0, 1, 0, 0, 1, 0)
    start = one_pass_eager.begin_task(state, members)
    assert_same(learner.begin_task(state, members), start)
    shown = lesson([1, 4], seed=size)
    images, labels = images_of(shown)[-size:], shown.labels[-size:]
    query = one_pass_eager.features(state, images)[:, :12]
    ours, theirs = learner.adaptation, one_pass_eager.adaptation
    sums = random_like(theirs.zero_sums())
    expected = theirs.gradients(start, images, query, labels, sums)
    assert_same(ours.gradients(start, images, query, labels, sums), expected)
    noise, rate = RandomStream(2, 0).uniform(*theirs.noise_shape), numbers(0.5)
    after = theirs.update(start, expected, noise, rate)
    assert_same(ours.update(start, expected, noise, rate), after)


@pytest.mark.parametrize("size", [1, 2, 5])
def test_statistics_are_carried_over_the_same_drift(learner, one_pass_eager, size):
    state, _ = known(one_pass_eager, learner)
    random = RandomStream(3, 0)
    before = random.normal(size, 12)
    after = before + 0.1 * random.normal(size, 12)
    weight, labels = random.uniform(size), np.arange(size) - 1
    drift = [
        each.compare(each.zero_drift(), before, after, weight, labels)
        for each in (learner, one_pass_eager)
    ]
    assert_same(drift[0], drift[1])
    expected = one_pass_eager.carry(state, drift[1])
    assert_same(learner.carry(state, drift[1]), expected, rtol=1e-3, atol=1e-3)


def test_it_learns_lesson_after_lesson_as_the_learner_in_pytorch(learner, one_pass_eager):
    found = expected = learner.stored_state()
    training = TrainingConfig(epochs=2, batch_size=3, micro_batch=3, final_rate=0.1)
    kept = None
    for number, classes in enumerate(([0, 1], [2], [3, 0], [4, 5])):
        shown = lesson(classes, seed=number)
        outcomes = [
            learn_lesson(each, state, shown, PREPROCESSING, training, 1, kept)
            for each, state in ((learner, found), (one_pass_eager, expected))
        ]
        decisions = [replace(outcome.decision, accuracy=None) for outcome in outcomes]
        assert decisions[0] == decisions[1]
        found, expected = (outcome.state for outcome in outcomes)
        assert_same(found, expected, rtol=1e-2, atol=1e-2)
        kept = lesson([0, 1], each=3, seed=7)
    assert found["lessons.adapted"] >= 1
    assert found["lessons.count"] == 4
