"""A grown state is one that had the large capacity from the start."""

import numpy as np
import pytest

from cbpnet.data.preprocessing import Preprocessing
from cbpnet.host.errors import InputError
from cbpnet.host.random_streams import RandomStream
from cbpnet.method.capacity import grow
from cbpnet.method.config import (
    AdaptationConfig,
    BlockConfig,
    CBPConfig,
    HeadConfig,
    LearnerConfig,
    PromptConfig,
    ReadoutConfig,
)
from cbpnet.method.eager import EagerLearner, EagerOnePass
from cbpnet.method.layout import state_layout
from cbpnet.method.learner import Learner
from cbpnet.method.one_pass import OnePassLearner
from cbpnet.method.state import HostState
from cbpnet.run.lesson import learn_lesson
from cbpnet.run.training import TaskImages, TrainingConfig, learn_task

DIM = 10
SMALL, LARGE = (4, 2), (9, 5)
PREPROCESSING = Preprocessing(4, (0.5, 0.4, 0.5), (0.2, 0.2, 0.3), "bilinear", 1.0)


def config(head="cosine", readout="rls", prompts=True):
    layers = ((0,), (1, 3)) if prompts else ((), ())
    return LearnerConfig(
        PromptConfig(layers[0], 2, layers[1], 2),
        BlockConfig(5),
        CBPConfig(0.3, 2, 0.9),
        HeadConfig(head),
        readout=ReadoutConfig(readout, features=3),
    )


def eager(toy_extractor, settings, classes, tasks):
    return EagerLearner(Learner(toy_extractor(DIM), settings, classes, tasks))


def images(classes, seed):
    random = np.random.default_rng(seed)
    labels = np.tile(classes, 3)
    pixels = random.integers(0, 256, (len(labels), 4, 4, 3), np.uint8)
    return TaskImages(pixels, labels, random.standard_normal((len(labels), DIM), np.float32))


def learn(learner, state, task, classes):
    shown = images(classes, seed=task)
    return learn_task(
        learner, state, task, shown, PREPROCESSING, TrainingConfig(4, 3, 3), seed=task
    )


def cut(state, layout):
    """The part of a large state that a small one has."""
    return HostState(layout, {n: state[n][: s[0]].copy() for n, s in layout.items()})


@pytest.mark.parametrize("head", ["cosine", "linear"])
@pytest.mark.parametrize("readout", ["none", "means", "rls"])
@pytest.mark.parametrize("prompts", [True, False])
def test_it_predicts_and_learns_as_one_that_was_always_large(toy_extractor, head, readout, prompts):
    settings = config(head, readout, prompts)
    small, large = (eager(toy_extractor, settings, *size) for size in (SMALL, LARGE))
    random = np.random.default_rng(0)
    always = large.initial_state(RandomStream(1, 0))
    state = cut(always, state_layout(settings, DIM, *SMALL))
    for task, classes in enumerate(([0, 1], [2, 3])):
        always, state = learn(large, always, task, classes), learn(small, state, task, classes)
    grown = grow(state, settings, DIM, *LARGE)
    for task, classes in ((2, [4, 5, 6]), (1, [2]), (3, [7, 8])):
        shown = random.standard_normal((6, 3, 4, 4), np.float32)
        query = random.standard_normal((6, DIM), np.float32)
        for found, expected in zip(
            large.predict(grown, shown, query), large.predict(always, shown, query), strict=True
        ):
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
        always, grown = learn(large, always, task, classes), learn(large, grown, task, classes)
    for name, value in grown.items():
        known = value[:4] if name == "prompts.e" else value  # the fifth has never been begun
        np.testing.assert_allclose(known, always[name][: len(known)], rtol=1e-4, atol=1e-5)


def test_what_is_added_is_unknown(toy_extractor):
    learner = eager(toy_extractor, config(), *SMALL)
    state = learn(learner, learner.initial_state(RandomStream(1, 0)), 0, [0, 1])
    grown = grow(state, config(), DIM, *LARGE)
    assert grown["classes.task"].tolist() == [0, 0, -1, -1, -1, -1, -1, -1, -1]
    assert grown["tasks.known"].tolist() == [1, 0, 0, 0, 0]
    for name, value in state.items():
        np.testing.assert_array_equal(grown[name][: len(value)], value)


def test_the_same_capacity_changes_nothing(toy_extractor):
    learner = eager(toy_extractor, config(), *SMALL)
    state = learner.initial_state(RandomStream(1, 0))
    same = grow(state, config(), DIM, *SMALL)
    for name, value in state.items():
        np.testing.assert_array_equal(same[name], value)


@pytest.mark.parametrize(
    ("capacity", "reason"), [((3, 9), "room for 4 classes, more than the 3"), ((9, 1), "2 tasks")]
)
def test_a_smaller_capacity_is_refused(toy_extractor, capacity, reason):
    learner = eager(toy_extractor, config(), *SMALL)
    state = learner.initial_state(RandomStream(1, 0))
    with pytest.raises(InputError, match=reason):
        grow(state, config(), DIM, *capacity)


@pytest.mark.parametrize("kind", ["never", "always"])
@pytest.mark.parametrize("readout", ["means", "rls", "whitened"])
def test_a_one_pass_learner_grows_too(toy_extractor, kind, readout):
    settings = LearnerConfig(
        PromptConfig((0, 2) if kind == "always" else (), 2, (), 1),
        readout=ReadoutConfig(readout),
        adaptation=AdaptationConfig(kind),
    )
    small, large = (
        EagerOnePass(OnePassLearner(toy_extractor(DIM), settings, size[0]))
        for size in (SMALL, LARGE)
    )
    always = large.initial_state(RandomStream(1, 0))
    state = small.initial_state(RandomStream(1, 0))

    def learn_by(learner, state, classes):
        shown = images(classes, seed=0)
        return learn_lesson(learner, state, shown, PREPROCESSING, TrainingConfig(2, 3, 3), 5).state

    always, state = (learn_by(*each, [0, 1, 2]) for each in ((large, always), (small, state)))
    grown = grow(state, settings, DIM, LARGE[0], 1)
    shown = np.random.default_rng(0).standard_normal((6, DIM), np.float32)
    for found, expected in zip(
        large.predict(grown, shown), large.predict(always, shown), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    always, grown = (learn_by(large, each, [2, 5, 8]) for each in (always, grown))
    for name, value in grown.items():
        np.testing.assert_allclose(value, always[name], rtol=1e-3, atol=1e-3)
    with pytest.raises(InputError, match="room for 9 classes, more than the 4 asked for"):
        grow(grown, settings, DIM, 4, 1)
