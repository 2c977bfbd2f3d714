import math

import numpy as np
import pytest
import torch

from cbpnet.host.random_streams import RandomStream
from cbpnet.method.config import (
    BlockConfig,
    CBPConfig,
    HeadConfig,
    LearnerConfig,
    PromptConfig,
    ReadoutConfig,
)
from cbpnet.method.features import normalise_feature
from cbpnet.method.initial import initial_bound
from cbpnet.method.learner import Learner
from cbpnet.method.state import LearnerState

CLASSES, TASKS, DIM = 7, 4, 10
PROMPTS = PromptConfig((0, 1), 3, (4, 2), 2, key_weight=0.7)
NO_PROMPTS = PromptConfig((), 1, (), 1)
TASK_OF_CLASS = [0.0, 1, 1, 2, 1, 0, -1]
HEADS = [HeadConfig("linear"), HeadConfig("cosine", scale=6.0)]
BLOCKS = [
    None,
    BlockConfig(5, "residual", 0.5, "identity"),
    BlockConfig(5, "residual", 0.5, "relu"),
    BlockConfig(5, "classification", 0.8, "relu"),
    BlockConfig(5, "classification", 0.8, "identity"),
]
FULL = LearnerConfig(PROMPTS, BLOCKS[1], head=HEADS[1])


def learner_of(backbone, config=FULL):
    return Learner(backbone, config, CLASSES, TASKS)


def random_state(learner, task=1, dtype=torch.float64):
    """Three tasks and six classes are known, and every tensor is full of numbers."""
    state = {name: torch.randn(shape, dtype=dtype) for name, shape in learner.layout.items()}
    state |= {n: value.square() for n, value in state.items() if n.startswith("adam.v.")}
    state |= {
        "tasks.current": torch.tensor([float(task)]).to(dtype),
        "tasks.known": torch.tensor([1.0, 1, 1, 0]).to(dtype),
        "classes.task": torch.tensor(TASK_OF_CLASS).to(dtype),
        "classes.count": torch.tensor([3.0, 4, 2, 5, 1, 2, 0]).to(dtype),
        "adam.step": torch.zeros(1).to(dtype),
    }
    return LearnerState(learner.layout, state)


def parameters_for(state, task):
    """The trainables' values where an image uses a task's entries of the pools."""
    entries = {"prompts.e": "prompts.e", "prompts.keys": "prompts.key"}
    return {entries.get(n, n): v[task : task + 1] if n in entries else v for n, v in state.items()}


def batch_of(learner, size, dtype=torch.float64):
    return torch.randn(size, 3, 32, 32, dtype=dtype), normalise_feature(
        torch.randn(size, learner.backbone.dim, dtype=dtype)
    )


def zero_sums(learner, dtype=torch.float64):
    return {name: value.to(dtype) for name, value in learner.zero_sums().items()}


@pytest.fixture(params=["toy", "micro"])
def backbone(request, toy_extractor, micro_backbone):
    return toy_extractor(DIM) if request.param == "toy" else micro_backbone(torch.float64)


def test_normalised_features_have_a_root_mean_square_of_one():
    feature = torch.randn(4, 9, dtype=torch.float64) * 30
    found = normalise_feature(feature)
    np.testing.assert_allclose(found.square().mean(dim=1), np.ones(4))
    np.testing.assert_allclose(found / found[:, :1], feature / feature[:, :1])


def test_query_is_the_unprompted_feature(backbone, network):
    learner = learner_of(backbone)
    images, _ = batch_of(learner, 3)
    config = LearnerConfig(NO_PROMPTS, head=HeadConfig("linear"))
    dim = backbone.dim
    identity = {"head.weight": torch.eye(dim).double(), "head.bias": torch.zeros(dim).double()}
    expected = [network(backbone, config, identity, image)[0] for image in images]
    np.testing.assert_allclose(learner.query(images), torch.stack(expected), atol=1e-9)


@pytest.mark.parametrize("prompts", [PROMPTS, NO_PROMPTS])
@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("head", HEADS)
def test_gradients_are_those_of_the_plain_loss(backbone, image_loss, head, block, prompts):
    config = LearnerConfig(prompts, block, head=head)
    learner = learner_of(backbone, config)
    state = random_state(learner)
    images, query = batch_of(learner, 4)
    labels = [1, 4, 2, 1]
    sums = learner.gradients(state, images, query, torch.tensor(labels), zero_sums(learner))

    leaves = {
        name: value.clone().requires_grad_()
        for name, value in parameters_for(state, task=1).items()
        if name in learner.trainables
    }
    loss, right, activity = 0.0, 0, 0.0
    for image, features, label in zip(images, query, labels, strict=True):
        each, first, hidden = image_loss(
            backbone, config, leaves, state["classes.mean"], [1, 2, 4], image, features, label
        )
        loss, right = loss + each, right + first
        activity = activity + (0.0 if hidden is None else hidden.detach().abs())
    found = torch.autograd.grad(loss, list(leaves.values()))
    expected = dict(zip(leaves, found, strict=True))
    expected |= {
        "loss": loss.detach(),
        "correct": torch.tensor([right]),
        "count": torch.tensor([4]),
    }
    if block is not None:
        expected["activity"] = activity[None]
    assert sums.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(sums[name], value, rtol=1e-8, atol=1e-10, err_msg=name)
        assert name == "correct" or abs(value).max() > 1e-6
    others = [0, 3, 5, 6]
    assert sums["head.weight"][others].eq(0).all()


@pytest.mark.parametrize("block", BLOCKS)
def test_one_batch_of_eight_equals_eight_of_one(micro_backbone, block):
    """On the first step of a task, where Adam divides a gradient by its own size."""
    learner = learner_of(micro_backbone(), LearnerConfig(PROMPTS, block))
    state = random_state(learner, dtype=torch.float32)
    adam = {n: torch.zeros_like(v) for n, v in state.items() if n.startswith("adam.")}
    weights = {n: v / 10 for n, v in state.items() if n.startswith("block.")}
    state = state.replace(adam | weights)
    images, query = batch_of(learner, 8, torch.float32)
    labels = torch.tensor([1, 4, 2, 1, 2, 2, 4, 1])
    whole = learner.gradients(state, images, query, labels, learner.zero_sums())
    parts = learner.zero_sums()
    for one in torch.arange(8).split(1):
        parts = learner.gradients(state, images[one], query[one], labels[one], parts)
    noise, rate = torch.rand(learner.noise_shape), torch.ones(1)
    after = [learner.update(state, sums, noise, rate) for sums in (whole, parts)]
    torch.testing.assert_close(parts, whole, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(dict(after[1]), dict(after[0]), rtol=1e-5, atol=1e-5)
    moved = [name for name in learner.layout if not torch.equal(after[0][name], state[name])]
    assert {"prompts.g", "prompts.e", "prompts.keys", "head.weight"} <= set(moved)


@pytest.mark.parametrize("padding", [-1, CLASSES, 0, 6])
@pytest.mark.parametrize("block", BLOCKS)
def test_padding_adds_nothing(toy_extractor, block, padding):
    """A label may be no class, a class of another task, or one not yet known."""
    learner = learner_of(toy_extractor(DIM), LearnerConfig(PROMPTS, block))
    state = random_state(learner)
    images, query = batch_of(learner, 5)
    padded = learner.gradients(
        state, images, query, torch.tensor([1, padding, 2, padding, 4]), zero_sums(learner)
    )
    real = [0, 2, 4]
    alone = learner.gradients(
        state, images[real], query[real], torch.tensor([1, 2, 4]), zero_sums(learner)
    )
    for name, value in alone.items():
        np.testing.assert_allclose(padded[name], value, rtol=0, atol=1e-12, err_msg=name)
    nothing = learner.gradients(state, images, query, torch.full((5,), padding), zero_sums(learner))
    assert all(value.eq(0).all() for value in nothing.values())


def test_gradients_leave_the_given_tensors_alone(toy_extractor):
    learner = learner_of(toy_extractor(DIM))
    state, sums = random_state(learner), zero_sums(learner)
    before = {name: value.clone() for name, value in state.items()}
    images, query = batch_of(learner, 2)
    found = learner.gradients(state, images, query, torch.tensor([1, 2]), sums)
    assert all(torch.equal(state[name], value) for name, value in before.items())
    assert all(value.eq(0).all() for value in sums.values())
    assert not any(value.requires_grad for value in [*state.values(), *found.values()])


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("head", HEADS)
def test_each_image_is_predicted_on_its_own(backbone, network, head, block):
    """Images of different tasks in one batch: each uses its own E-prompt, whatever the others."""
    config = LearnerConfig(PROMPTS, block, head=head, readout=ReadoutConfig("none"))
    learner = learner_of(backbone, config)
    state = random_state(learner)
    images, _ = batch_of(learner, 4)
    tasks = [2, 0, 1, 0]
    query = normalise_feature(
        state["prompts.keys"][tasks] + 0.1 * torch.randn(4, learner.backbone.dim)
    )
    scores, chosen = learner.predict(state, images, query)
    assert chosen.argmax(dim=1).tolist() == tasks
    assert chosen.sum(dim=1).tolist() == [1.0] * 4
    for row, (image, task) in enumerate(zip(images, tasks, strict=True)):
        logits, _ = network(backbone, config, parameters_for(state, task), image)
        expected = [logits[c] - logits[:6].logsumexp(0) for c in range(6)]
        np.testing.assert_allclose(scores[row, :6], torch.stack(expected), atol=1e-9)
        alone, its_task = learner.predict(state, images[row : row + 1], query[row : row + 1])
        np.testing.assert_allclose(alone[0], scores[row], atol=1e-9)
        assert torch.equal(its_task[0], chosen[row])
    assert scores[:, 6].eq(-math.inf).all()


@pytest.mark.parametrize("kind", ["none", "means", "rls"])
def test_the_readouts_scores_are_added_with_their_weight(toy_extractor, kind):
    readout = ReadoutConfig("rls", weight=3.0)
    learner = learner_of(toy_extractor(DIM), LearnerConfig(PROMPTS, readout=readout))
    state = random_state(learner)
    images, query = batch_of(learner, 4)
    alone, _ = learner.predict(state, images, query, readout="none")
    fused, _ = learner.predict(state, images, query, readout=kind)
    means, weight = state["classes.mean"].numpy(), state["readout.weight"].numpy()
    for row, image in enumerate(query.numpy()):
        for c in range(6):
            cosine = image @ means[c] / np.linalg.norm(image) / np.linalg.norm(means[c])
            score = {"none": 0, "means": cosine, "rls": weight[c] @ [*image, 1.0]}[kind]
            assert fused[row, c].item() == pytest.approx(alone[row, c].item() + 3.0 * score)
    assert fused[:, 6].eq(-math.inf).all()
    configured, _ = learner.predict(state, images, query)
    assert torch.equal(configured, fused) is (kind == "rls")


def test_the_first_state(toy_extractor):
    config = LearnerConfig(PROMPTS, BlockConfig(50), readout=ReadoutConfig("rls"))
    learner = learner_of(toy_extractor(DIM), config)
    state = learner.initial_state(RandomStream(3, 0))
    for name in ("prompts.g", "prompts.e"):
        assert state[name].abs().max() <= config.prompts.init_range
        assert state[name].std().item() == pytest.approx(
            config.prompts.init_range / 3**0.5, rel=0.2
        )
    assert 0.9 < state["block.w_in"].abs().max() / initial_bound(DIM) <= 1
    assert state["tasks.current"].tolist() == [-1]
    assert state["classes.task"].eq(-1).all()
    np.testing.assert_allclose(state["readout.inverse"], np.eye(DIM + 1) / 100, atol=1e-9)
    drawn = ("prompts.g", "prompts.e", "block.w_in", "readout.projection", "readout.inverse")
    for name in state.keys() - {*drawn, "tasks.current", "classes.task"}:
        assert state[name].eq(0).all(), name
    assert {value.dtype for value in state.values()} == {torch.float32}
    again = learner.initial_state(RandomStream(3, 0))
    assert all(torch.equal(again[name], value) for name, value in state.items())


@pytest.mark.parametrize(
    ("block", "rate", "rows"), [(None, 0.5, 0), (BlockConfig(5), 0.0, 0), (BlockConfig(5), 0.5, 3)]
)
def test_noise_has_a_row_for_each_replacement(toy_extractor, block, rate, rows):
    config = LearnerConfig(PROMPTS, block, CBPConfig(rate))
    assert learner_of(toy_extractor(DIM), config).noise_shape == (rows, 1, DIM)


def test_scores_with_several_readouts_are_those_of_each(toy_extractor):
    learner = learner_of(toy_extractor(DIM))
    state = random_state(learner)
    images, query = batch_of(learner, 3)
    found, chosen = learner.scores(state, images, query, ["means", "none", "rls"])
    assert list(found) == ["means", "none", "rls"]
    for kind, scores in found.items():
        expected, task = learner.predict(state, images, query, kind)
        assert torch.equal(scores, expected)
        assert torch.equal(chosen, task)
