"""A one-pass bundle does what the learner in PyTorch does, for batches of any size."""

from dataclasses import replace

import pytest
import torch

from cbpnet.data.preprocessing import Preprocessing
from cbpnet.host.random_streams import RandomStream
from cbpnet.run.lesson import learn_lesson
from cbpnet.run.training import LessonImages, TrainingConfig
from mobile.device.one_pass_program import OnePassProgram
from mobile.device.program import Program

PREPROCESSING = Preprocessing(8, (0.5,) * 3, (0.5,) * 3, "bilinear", 1.0)
CLASSES = 6


@pytest.fixture(scope="module")
def learner(one_pass_bundle):
    return OnePassProgram(Program(one_pass_bundle))


def lesson(classes, each=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.tensor(classes).repeat_interleave(each)
    patterns = torch.rand(CLASSES, 8, 8, 3, generator=torch.Generator().manual_seed(9))
    noise = torch.randn(len(labels), 8, 8, 3, generator=generator)
    pixels = 255 * (patterns[labels] + 0.3 * noise).clamp(0, 1)
    return LessonImages(pixels.to(torch.uint8), labels)


def images_of(shown):
    return shown.batch(torch.arange(len(shown.labels)), PREPROCESSING)


def known(eager, learner):
    """A state that has counted some images and has its readout."""
    shown = lesson([0, 1, 2, 3])
    state = learner.stored_state()
    counted = eager.observe(state, eager.features(state, images_of(shown)), shown.labels)
    return eager.solve(counted, torch.tensor([0.3]), torch.tensor([2.0]))


def assert_same(found, expected, rtol=1e-4, atol=1e-5):
    assert list(found) == list(expected)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=rtol, atol=atol, msg=name)


def test_it_describes_itself_as_the_learner_does(learner, one_pass_eager):
    for name in ("config", "classes", "layout"):
        assert getattr(learner, name) == getattr(one_pass_eager, name), name
    assert learner.adaptation.config == one_pass_eager.adaptation.config
    assert learner.adaptation.noise_shape == one_pass_eager.adaptation.noise_shape
    assert_same(learner.zero_evidence(), one_pass_eager.zero_evidence())
    assert_same(vars(learner.zero_drift()), vars(one_pass_eager.zero_drift()))
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
    state, metric = known(one_pass_eager, learner)
    shown = lesson([1, 4], seed=size)
    images, labels = images_of(shown)[:size], shown.labels[:size]
    x = one_pass_eager.features(state, images)
    torch.testing.assert_close(learner.features(state, images), x)
    for found, expected in zip(
        learner.predict(state, x), one_pass_eager.predict(state, x), strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    labels = labels.index_fill(0, torch.tensor([0]), -1)  # padding that is not at the end
    assert_same(learner.observe(state, x, labels), one_pass_eager.observe(state, x, labels))
    counted = one_pass_eager.observe(state, x, labels)
    rest = counted, metric, x, labels, torch.ones(CLASSES), {}
    sums = {name: torch.rand_like(value) for name, value in learner.zero_evidence().items()}
    assert_same(
        learner.leave_one_out(*rest[:-1], sums), one_pass_eager.leave_one_out(*rest[:-1], sums)
    )


def test_the_solution_is_the_same(learner, one_pass_eager):
    state, metric = known(one_pass_eager, learner)
    found, found_metric = learner.solve(state, torch.tensor([0.3]), torch.tensor([2.0]))
    assert_same(found_metric._asdict(), metric._asdict(), rtol=1e-3, atol=1e-4)
    assert_same(found, state, rtol=1e-3, atol=1e-3)


def test_without_a_classifier_nobody_is_asked_how_sure_it_is(learner):
    assert learner.confidence(images_of(lesson([0], each=2))) is None


@pytest.mark.parametrize("size", [1, 2, 5])
def test_an_adaptation_of_any_batch(learner, one_pass_eager, size):
    state, _ = known(one_pass_eager, learner)
    members = torch.tensor([0.0, 1, 0, 0, 1, 0])
    start = one_pass_eager.begin_task(state, members)
    assert_same(learner.begin_task(state, members), start)
    shown = lesson([1, 4], seed=size)
    images, labels = images_of(shown)[-size:], shown.labels[-size:]
    query = one_pass_eager.features(state, images)[:, :12]
    ours, theirs = learner.adaptation, one_pass_eager.adaptation
    sums = {name: torch.rand_like(value) for name, value in theirs.zero_sums().items()}
    expected = theirs.gradients(start, images, query, labels, sums)
    assert_same(ours.gradients(start, images, query, labels, sums), expected)
    noise, rate = torch.rand(theirs.noise_shape), torch.tensor([0.5])
    after = theirs.update(start, expected, noise, rate)
    assert_same(ours.update(start, expected, noise, rate), after)


@pytest.mark.parametrize("size", [1, 2, 5])
def test_statistics_are_carried_over_the_same_drift(learner, one_pass_eager, size):
    state, _ = known(one_pass_eager, learner)
    before = torch.randn(size, 12)
    after = before + 0.1 * torch.randn(size, 12)
    weight, labels = torch.rand(size), torch.arange(size) - 1
    drift = [
        each.compare(each.zero_drift(), before, after, weight, labels)
        for each in (learner, one_pass_eager)
    ]
    assert_same(vars(drift[0]), vars(drift[1]))
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
