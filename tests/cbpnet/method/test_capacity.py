"""A grown state is one that had the large capacity from the start."""

import pytest
import torch

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
from cbpnet.method.learner import Learner
from cbpnet.method.one_pass import OnePassLearner
from cbpnet.method.state import LearnerState
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


def images(learner, classes, seed):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.tensor(classes).repeat(3)
    pixels = torch.randint(0, 256, (len(labels), 4, 4, 3), generator=generator).to(torch.uint8)
    query = torch.randn(len(labels), DIM, generator=generator)
    return TaskImages(pixels, labels, query)


def learn(learner, state, task, classes):
    shown = images(learner, classes, seed=task)
    return learn_task(
        learner, state, task, shown, PREPROCESSING, TrainingConfig(4, 3, 3), seed=task
    )


def cut(state, layout):
    """The part of a large state that a small one has."""
    return LearnerState(layout, {n: state[n][: s[0]].clone() for n, s in layout.items()})


@pytest.mark.parametrize("head", ["cosine", "linear"])
@pytest.mark.parametrize("readout", ["none", "means", "rls"])
@pytest.mark.parametrize("prompts", [True, False])
def test_it_predicts_and_learns_as_one_that_was_always_large(toy_extractor, head, readout, prompts):
    settings = config(head, readout, prompts)
    small, large = (Learner(toy_extractor(DIM), settings, *size) for size in (SMALL, LARGE))
    always = large.initial_state(RandomStream(1, 0))
    state = cut(always, small.layout)
    for task, classes in enumerate(([0, 1], [2, 3])):
        always, state = learn(large, always, task, classes), learn(small, state, task, classes)
    grown = grow(state, settings, DIM, *LARGE)
    for task, classes in ((2, [4, 5, 6]), (1, [2]), (3, [7, 8])):
        shown = torch.randn(6, 3, 4, 4)
        query = torch.randn(6, DIM)
        for found, expected in zip(
            large.predict(grown, shown, query), large.predict(always, shown, query), strict=True
        ):
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
        always, grown = learn(large, always, task, classes), learn(large, grown, task, classes)
    for name, value in grown.items():
        known = value[:4] if name == "prompts.e" else value  # the fifth has never been begun
        torch.testing.assert_close(known, always[name][: len(known)], rtol=1e-4, atol=1e-5)


def test_what_is_added_is_unknown(toy_extractor):
    learner = Learner(toy_extractor(DIM), config(), *SMALL)
    state = learn(learner, learner.initial_state(RandomStream(1, 0)), 0, [0, 1])
    grown = grow(state, config(), DIM, *LARGE)
    assert grown["classes.task"].tolist() == [0, 0, -1, -1, -1, -1, -1, -1, -1]
    assert grown["tasks.known"].tolist() == [1, 0, 0, 0, 0]
    assert all(torch.equal(grown[name][: len(value)], value) for name, value in state.items())


def test_the_same_capacity_changes_nothing(toy_extractor):
    learner = Learner(toy_extractor(DIM), config(), *SMALL)
    state = learner.initial_state(RandomStream(1, 0))
    same = grow(state, config(), DIM, *SMALL)
    assert all(torch.equal(same[name], value) for name, value in state.items())


@pytest.mark.parametrize(
    ("capacity", "reason"), [((3, 9), "room for 4 classes, more than the 3"), ((9, 1), "2 tasks")]
)
def test_a_smaller_capacity_is_refused(toy_extractor, capacity, reason):
    learner = Learner(toy_extractor(DIM), config(), *SMALL)
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
        OnePassLearner(toy_extractor(DIM), settings, size[0]) for size in (SMALL, LARGE)
    )
    always = large.initial_state(RandomStream(1, 0))
    state = small.initial_state(RandomStream(1, 0))

    def learn_by(learner, state, classes):
        shown = images(learner, classes, seed=0)
        return learn_lesson(learner, state, shown, PREPROCESSING, TrainingConfig(2, 3, 3), 5).state

    always, state = (learn_by(*each, [0, 1, 2]) for each in ((large, always), (small, state)))
    grown = grow(state, settings, DIM, LARGE[0], 1)
    shown = torch.randn(6, DIM)
    for found, expected in zip(
        large.predict(grown, shown), large.predict(always, shown), strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    always, grown = (learn_by(large, each, [2, 5, 8]) for each in (always, grown))
    for name, value in grown.items():
        torch.testing.assert_close(value, always[name], rtol=1e-3, atol=1e-3)
    with pytest.raises(InputError, match="room for 9 classes, more than the 4 asked for"):
        grow(grown, settings, DIM, 4, 1)
