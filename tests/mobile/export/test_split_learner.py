"""A split learner is one learner forward and another where it learns."""

import pytest
import torch

from cbpnet.host.random_streams import RandomStream
from cbpnet.method.learner import Learner
from cbpnet.method.one_pass import OnePassLearner
from mobile.export.split_learner import SplitLearner, SplitOnePassLearner

from ..toy_bundles import toy_learner, toy_one_pass_learner

DIM, CLASSES, TASKS = 12, 6, 3


@pytest.fixture
def learners():
    """The learner forward, the one that learns, and the split one made of both."""
    learning = toy_learner()

    def brighter(images, prefixes=None):
        return learning.backbone(1.1 * images + 0.2, prefixes)

    brighter.dim = DIM
    rest = learning.config, CLASSES, TASKS
    forward = Learner(brighter, *rest)
    return forward, learning, SplitLearner(learning.backbone, brighter, *rest)


def test_it_queries_and_predicts_forward_and_learns_on_the_other(learners):
    forward, learning, split = learners
    generator = torch.Generator().manual_seed(1)
    images, labels = torch.randn(4, 3, 8, 8, generator=generator), torch.arange(4) % 2
    query = forward.query(images)
    assert split.query(images).equal(query)
    assert not learning.query(images).equal(query)

    state = split.observe(split.initial_state(RandomStream(1, 0)), query, labels)
    state = split.begin_task(state, torch.zeros(1), torch.eye(2, CLASSES).sum(dim=0))
    state = state.replace({"block.w_out": torch.randn(state["block.w_out"].shape)})
    for kind in ("none", "rls"):
        expected, task = forward.scores(state, images, query, [kind])
        found, chosen = split.scores(state, images, query, [kind])
        assert found[kind].equal(expected[kind])
        assert chosen.equal(task)
        assert not learning.scores(state, images, query, [kind])[0][kind].equal(expected[kind])

    sums = split.gradients(state, images, query, labels, split.zero_sums())
    for name, value in learning.gradients(
        state, images, query, labels, learning.zero_sums()
    ).items():
        assert sums[name].equal(value), name


def test_a_one_pass_learner_counts_forward_and_adapts_on_the_other():
    one_pass = toy_one_pass_learner()
    learning, config = one_pass.backbone, one_pass.config

    class Brighter:
        dim, logits = learning.dim, 5

        def parts(self, images, prefixes, names):
            parts = dict(zip(names, [learning(1.1 * images + 0.2, prefixes)] * 2, strict=False))
            return [parts[name] for name in names]

    forward = OnePassLearner(Brighter(), config, CLASSES)
    split = SplitOnePassLearner(learning, Brighter(), config, CLASSES)
    generator = torch.Generator().manual_seed(1)
    images, labels = torch.randn(4, 3, 8, 8, generator=generator), torch.arange(4) % 2
    state = split.initial_state(RandomStream(1, 0))
    x = forward.features(state, images)
    assert split.features(state, images).equal(x)
    assert split.confidence(images).equal(forward.confidence(images))
    assert not one_pass.features(state, images).equal(x)

    known = split.observe(state, x, labels)
    begun = split.begin_task(known, torch.eye(2, CLASSES).sum(dim=0))
    for name, value in one_pass.begin_task(known, torch.eye(2, CLASSES).sum(dim=0)).items():
        assert begun[name].equal(value), name
    rest = begun, images, x[:, :DIM], labels, split.adaptation.zero_sums()
    sums = split.adaptation.gradients(*rest)
    for name, value in one_pass.adaptation.gradients(*rest).items():
        assert sums[name].equal(value), name
