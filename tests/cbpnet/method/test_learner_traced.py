"""The learner's functions as graphs of tensor operations, which is how a device runs them.

Tracing with tensors that have shapes and no numbers fails on any control flow that looks at data.
"""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._pytree import tree_map

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
from cbpnet.method.learner import Learner
from cbpnet.method.state import LearnerState

CLASSES, TASKS, BATCH = 6, 3, 4
CBP = CBPConfig(replacement_rate=0.4, maturity=2, decay=0.9)


def traced(function, arguments):
    """A function of tensors, traced without their numbers and exported."""
    without_numbers = FakeTensorMode(allow_non_fake_inputs=True)  # the backbone's weights stay
    with without_numbers:
        graph = make_fx(function)(*tree_map(without_numbers.from_tensor, arguments))
    return torch.export.export(graph, tuple(arguments)).module()


def as_tensors(learner, method):
    """A method of the learner as a function of the state's tensors, and its answer as tensors."""

    def function(tensors, *rest):
        answer = getattr(learner, method)(LearnerState(learner.layout, tensors), *rest)
        return dict(answer) if isinstance(answer, LearnerState) else answer

    return function


@pytest.fixture(params=[("cosine", "residual"), ("linear", "classification")], ids="-".join)
def learner(request, micro_backbone):
    head, objective = request.param
    config = LearnerConfig(
        PromptConfig((0,), 2, (1, 3), 2),
        BlockConfig(5, objective),
        CBP,
        HeadConfig(head),
        readout=ReadoutConfig("rls", features=7),
    )
    return Learner(micro_backbone(), config, CLASSES, TASKS)


@pytest.fixture
def token_learner(micro_backbone):
    """One in which tokens of the G-prompt are replaced in the place of the block's units."""
    prompts = PromptConfig((0, 2), 3, (1,), 2, replacement_rate=0.4)
    return Learner(micro_backbone(), LearnerConfig(prompts, cbp=CBP), CLASSES, TASKS)


def known_state(learner, task):
    """A state in which tasks 0 and 1 are known and ``task`` is being learnt."""
    state = learner.initial_state(RandomStream(2, 0))
    for number in (0, 1, task):
        query, labels = batch(learner, number)[1:]
        members = torch.zeros(CLASSES).index_fill(0, labels[labels >= 0], 1.0)
        state = learner.observe(state, query, labels)
        state = learner.begin_task(state, torch.tensor([float(number)]), members)
    return state


def batch(learner, task, seed=0):
    """Images, queries and labels of a task; for task 1 the last one is padding."""
    generator = torch.Generator().manual_seed(10 * task + seed)
    query = normalise_feature(torch.randn(BATCH, learner.backbone.dim, generator=generator))
    labels = torch.tensor([2 * task, 2 * task + 1, 2 * task, -1 if task == 1 else 2 * task])
    return torch.randn(BATCH, 3, 32, 32, generator=generator), query, labels


def assert_same(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_gradients_and_update(learner):
    assert run_traced_steps(learner, "cbp.age") >= 8


def test_gradients_and_update_where_tokens_are_replaced(token_learner):
    assert run_traced_steps(token_learner, "cbp.prompt_age") >= 8


def run_traced_steps(learner, ages):
    """Traced on one state and batch, run through steps on others; return how many were replaced."""
    gradients, update = as_tensors(learner, "gradients"), as_tensors(learner, "update")
    state, sums = dict(known_state(learner, 0)), learner.zero_sums()
    noise, rate = torch.rand(learner.noise_shape), torch.ones(1)
    traced_gradients = traced(gradients, (state, *batch(learner, 0), sums))
    with torch.no_grad():
        traced_update = traced(update, (state, sums, noise, rate))
    replaced = 0
    for task in (1, 0):
        state = dict(known_state(learner, task))
        for step in range(6):
            inputs = (state, *batch(learner, task, step), learner.zero_sums())
            found = traced_gradients(*inputs)
            assert_same(found, gradients(*inputs))
            inputs = (state, found, torch.rand(learner.noise_shape), torch.full((1,), 0.5))
            after = traced_update(*inputs)
            assert_same(after, update(*inputs))
            replaced += int((after[ages] == 0).sum())
            state = after
    return replaced


def test_predict(learner):
    predict = as_tensors(learner, "predict")
    state = dict(known_state(learner, 0))
    traced_predict = traced(predict, (state, *batch(learner, 0)[:2]))
    for task in (1, 2):
        inputs = (dict(known_state(learner, task)), *batch(learner, task, seed=1)[:2])
        assert_same(traced_predict(*inputs), predict(*inputs))


def test_observe_and_begin_task(learner):
    observe, begin_task = as_tensors(learner, "observe"), as_tensors(learner, "begin_task")
    state = dict(known_state(learner, 0))
    members = torch.tensor([1.0, 1, 0, 0, 0, 0])
    traced_observe = traced(observe, (state, *batch(learner, 0)[1:]))
    traced_begin = traced(begin_task, (state, torch.tensor([0.0]), members))
    for task in (2, 1):
        inputs = (state, *batch(learner, task, seed=3)[1:])
        state = traced_observe(*inputs)
        assert_same(state, observe(*inputs))
        inputs = (state, torch.tensor([float(task)]), members.roll(2 * task))
        state = traced_begin(*inputs)
        assert_same(state, begin_task(*inputs))


def test_control_flow_on_data_would_not_be_traced():
    def branching(values):
        return values if values.sum() > 0 else -values

    with pytest.raises(Exception, match="data-dependent"):
        make_fx(branching, tracing_mode="fake")(torch.ones(2))
