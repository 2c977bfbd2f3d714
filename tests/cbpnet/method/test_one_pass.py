"""The one-pass learner's functions: an adaptation's loss, and what a pass gives."""

import pytest
import torch
import torch.nn.functional as F

from cbpnet.host.random_streams import RandomStream
from cbpnet.method.config import AdaptationConfig, LearnerConfig, PromptConfig, ReadoutConfig
from cbpnet.method.one_pass import OnePassLearner

DIM, CLASSES = 12, 6


@pytest.fixture
def learner(toy_extractor):
    config = LearnerConfig(
        PromptConfig((0, 2), 2, (), 1),
        readout=ReadoutConfig("whitened"),
        adaptation=AdaptationConfig("auto"),
    )
    return OnePassLearner(toy_extractor(DIM), config, CLASSES)


def drawn(count=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(count, 3, 4, 4, generator=generator)
    return images, torch.arange(count) % 3 + 2


def test_an_adaptation_follows_the_cross_entropy_of_a_cosine_head(learner):
    """Autograd on the loss as written, with the head's rows at the classes' means."""
    images, labels = drawn()
    state = learner.initial_state(RandomStream(1, 0))
    state = learner.observe(state, torch.randn(3, DIM), torch.zeros(3).long())
    state = learner.observe(state, learner.features(state, images), labels)
    begun = learner.begin_task(state, torch.zeros(CLASSES).index_fill(0, labels, 1.0))
    torch.testing.assert_close(begun["head.weight"][2:5], state["classes.mean"][2:5])
    assert not begun["head.weight"][:2].any()

    trained = learner.adaptation
    nothing = torch.zeros(8, DIM)
    found = trained.gradients(begun, images, nothing, labels, trained.zero_sums())
    prompt = state["prompts.g"].clone().requires_grad_()
    feature = learner.features({"prompts.g": prompt}, images)
    head = F.normalize(state["classes.mean"][2:5], dim=1)
    logits = 10 * F.normalize(feature, dim=1) @ head.T
    loss = F.cross_entropy(logits, labels - 2, reduction="sum")
    (expected,) = torch.autograd.grad(loss, prompt)
    torch.testing.assert_close(found["prompts.g"], expected, rtol=1e-4, atol=1e-5)


def test_padding_adds_nothing_to_an_adaptation(learner):
    images, labels = drawn()
    state = learner.initial_state(RandomStream(1, 0))
    state = learner.observe(state, torch.randn(3, DIM), torch.zeros(3).long())
    begun = learner.begin_task(state, torch.zeros(CLASSES).index_fill(0, labels, 1.0))
    trained, query = learner.adaptation, torch.randn(8, DIM)
    padded = torch.where(torch.arange(8) < 5, labels, -1)
    found = trained.gradients(begun, images, query, padded, trained.zero_sums())
    alone = trained.gradients(begun, images[:5], query[:5], labels[:5], trained.zero_sums())
    torch.testing.assert_close(found["prompts.g"], alone["prompts.g"])


def test_confidence_is_the_classifiers_greatest_probability_under_a_prompt_of_zeros(
    learner, toy_extractor
):
    images, _ = drawn()
    assert learner.confidence(images) is None
    extractor = toy_extractor(DIM)
    extractor.logits = 5
    sure = OnePassLearner(extractor, learner.config, CLASSES).confidence(images)
    zeros = {0: torch.zeros(1, 2, 2, DIM), 2: torch.zeros(1, 2, 2, DIM)}
    logits = extractor.parts(images, zeros, ("pooled", "logits5"))[1]
    torch.testing.assert_close(sure, logits.softmax(dim=1).max(dim=1).values)


def test_scores_of_unknown_classes_are_minus_infinity(learner):
    state = learner.initial_state(RandomStream(1, 0))
    x = torch.randn(4, DIM)
    state = learner.observe(state, x, torch.tensor([0, 0, 3, 3]))
    state, _ = learner.solve(state, torch.ones(1), torch.ones(1))
    scores, probabilities, _ = learner.predict(state, x)
    known = torch.tensor([True, False, False, True, False, False])
    assert scores.isfinite().equal(known.expand(4, -1))
    assert probabilities[:, ~known].eq(0).all()
