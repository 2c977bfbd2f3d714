"""A bundle's learner does what the learner in PyTorch does, for batches of any size."""

import numpy as np
import pytest

pytest.importorskip("torch")

from cbpnet.data.preprocessing import Preprocessing
from cbpnet.host.errors import InputError
from cbpnet.host.random_streams import RandomStream
from cbpnet.run.training import TaskImages, TrainingConfig, initial_state, learn_task
from mobile.device.program import Program
from mobile.device.program_learner import ProgramLearner

from ..toy_bundles import toy_learner

PREPROCESSING = Preprocessing(8, (0.5,) * 3, (0.5,) * 3, "bilinear", 1.0)


@pytest.fixture(scope="module")
def learner(bundle):
    return ProgramLearner(Program(bundle))


def task_images(learner, classes, count=7, seed=0):
    labels = np.repeat(classes, count)
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 256, (len(labels), 8, 8, 3), np.uint8)
    images = ((pixels.transpose(0, 3, 1, 2) / 255 - 0.5) / 0.5).astype(np.float32)
    return images, TaskImages(pixels, labels, learner.query(images))


def drawn_images(count):
    return RandomStream(0, 0).normal(count, 3, 8, 8)


def learn(learner, state, task, classes, **training):
    _, images = task_images(learner, classes, seed=task)
    config = TrainingConfig(**({"epochs": 4, "batch_size": 5, "micro_batch": 5} | training))
    return learn_task(learner, state, task, images, PREPROCESSING, config, seed=1)


def assert_same(found, expected):
    assert list(found) == list(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-3, atol=1e-5, err_msg=name)


def test_it_describes_itself_as_the_learner_does(learner, eager):
    for name in ("config", "classes", "tasks", "noise_shape"):
        assert getattr(learner, name) == getattr(eager, name), name
    assert learner.layout == toy_learner().layout
    zeros = learner.zero_sums()
    assert {n: v.shape for n, v in zeros.items()} == {
        n: v.shape for n, v in eager.zero_sums().items()
    }
    assert not any(value.any() for value in zeros.values())


def test_the_initial_state_of_a_seed_is_the_same_and_the_stored_one_is_exact(learner, eager):
    for state, expected in (
        (initial_state(learner, 4), initial_state(eager, 4)),
        (learner.stored_state(), eager.initial_state(RandomStream(2, 0))),
    ):
        assert all(np.array_equal(value, expected[name]) for name, value in state.items())


@pytest.mark.parametrize("size", [1, 2, 5])
def test_queries_and_scores_of_any_batch(learner, eager, size):
    state = learn(eager, learner.stored_state(), 0, [0, 1, 2])
    images = drawn_images(size)
    query = learner.query(images)
    np.testing.assert_allclose(query, eager.query(images), rtol=1.3e-6, atol=1e-5)
    found, task = learner.scores(state, images, query, ["rls", "none"])
    expected, expected_task = eager.scores(state, images, query, ["rls", "none"])
    assert np.array_equal(task, expected_task)
    for kind, scores in expected.items():
        np.testing.assert_allclose(found[kind], scores, rtol=1e-4, atol=1e-4)
    assert np.array_equal(learner.predict(state, images, query)[0], found["rls"])


def test_a_readout_that_was_not_exported_is_refused(learner):
    images = drawn_images(2)
    with pytest.raises(InputError, match="no readout 'means'; it must be one of none, rls"):
        learner.scores(learner.stored_state(), images, learner.query(images), ["means"])


@pytest.mark.parametrize("size", [1, 2, 3])
def test_gradient_sums_of_any_batch_and_padding_adds_nothing(learner, eager, size):
    state = learn(eager, learner.stored_state(), 0, [0, 1])
    images, shown = task_images(learner, [0, 1], count=size)
    random = RandomStream(1, 0)
    sums = {name: random.uniform(*value.shape) for name, value in eager.zero_sums().items()}
    found = learner.gradients(state, images, shown.query, shown.labels, sums)
    expected = eager.gradients(state, images, shown.query, shown.labels, sums)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-5, err_msg=name)


def test_observing_any_batch_counts_each_image_once(learner, eager):
    images = drawn_images(5)
    query, labels = learner.query(images), np.array([0, 1, 1, -1, 2])
    state = learner.stored_state()
    assert_same(learner.observe(state, query, labels), eager.observe(state, query, labels))
    assert learner.observe(state, query, labels)["classes.count"].tolist() == [1, 2, 1, 0, 0, 0]


def test_it_learns_as_the_learner_in_pytorch(learner, eager):
    """Three tasks, a known one again and new classes in a known one, with replaced units."""
    found = expected = learner.stored_state()
    replaced = 0.0
    for task, classes in ((0, [0, 1]), (1, [2]), (0, [0, 1]), (2, [3, 4]), (1, [2, 5])):
        found, expected = (
            learn(each, state, task, classes)
            for each, state in ((learner, found), (eager, expected))
        )
        assert_same(found, expected)
        replaced += float((expected["cbp.age"] < 12).sum())
    assert replaced >= 5
    assert found["classes.task"].tolist() == [0, 0, 1, 2, 2, 1]


def test_the_size_of_a_program_does_not_show_in_what_is_learnt(learner):
    states = [
        learn(learner, learner.stored_state(), 0, [0, 1], micro_batch=size) for size in (5, 1)
    ]
    for name, value in states[0].items():
        np.testing.assert_allclose(value, states[1][name], rtol=1e-2, atol=1e-3, err_msg=name)
