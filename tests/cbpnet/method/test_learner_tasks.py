"""What begins a task: the first prompt, key and head rows, and which class belongs to which."""

import numpy as np
import pytest
import torch

from cbpnet.host.random_streams import RandomStream
from cbpnet.method.config import BlockConfig, HeadConfig, LearnerConfig, PromptConfig, ReadoutConfig
from cbpnet.method.learner import Learner

DIM, CLASSES, TASKS = 8, 6, 3
CONFIG = LearnerConfig(PromptConfig((0,), 2, (1, 3), 2), BlockConfig(4))


def learner_of(toy_extractor, config=CONFIG):
    return Learner(toy_extractor(DIM), config, CLASSES, TASKS)


def first_state(learner):
    return learner.initial_state(RandomStream(4, 0))


def images_of(classes, count=5):
    labels = torch.tensor(classes).repeat_interleave(count)
    return torch.randn(len(labels), DIM), labels


def begun(learner, state, task, classes, count=5):
    """The state with some new images of classes observed and a task of them begun."""
    query, labels = images_of(classes, count)
    state = learner.observe(state, query, labels)
    members = torch.zeros(CLASSES).index_fill(0, torch.tensor(classes), 1.0)
    return learner.begin_task(state, torch.tensor([float(task)]), members), query, labels


def disturbed(state):
    """The state with every number that training moves replaced."""
    moved = ("prompts.", "block.", "head.", "adam.", "cbp.")
    return state.replace({n: torch.randn(v.shape) for n, v in state.items() if n.startswith(moved)})


def test_observing_counts_images_and_nothing_else(toy_extractor):
    learner = learner_of(toy_extractor)
    state = first_state(learner)
    query, labels = images_of([3, 1])
    after = learner.observe(state, query, labels)
    assert after["classes.count"].tolist() == [0, 5, 0, 5, 0, 0]
    np.testing.assert_allclose(after["classes.mean"][3], query[:5].numpy().mean(axis=0), atol=1e-6)
    for name, value in state.items():
        statistics = name in ("classes.count", "classes.mean") or name.startswith("readout.")
        assert statistics or torch.equal(after[name], value)


def test_tasks_and_classes_become_known(toy_extractor):
    learner = learner_of(toy_extractor)
    state, _, _ = begun(learner, first_state(learner), 0, [4, 0])
    assert state["tasks.current"].tolist() == [0]
    assert state["tasks.known"].tolist() == [1, 0, 0]
    assert state["classes.task"].tolist() == [0, -1, -1, -1, 0, -1]
    state, _, _ = begun(learner, state, 2, [1])
    assert state["tasks.current"].tolist() == [2]
    assert state["tasks.known"].tolist() == [1, 0, 1]
    assert state["classes.task"].tolist() == [0, 2, -1, -1, 0, -1]


def test_an_e_prompt_starts_as_the_one_before(toy_extractor):
    learner = learner_of(toy_extractor)
    state, _, _ = begun(learner, first_state(learner), 0, [0, 1])
    assert torch.equal(state["prompts.e"], first_state(learner)["prompts.e"])
    state = disturbed(state)
    after, _, _ = begun(learner, state, 1, [2, 3])
    assert torch.equal(after["prompts.e"][1], state["prompts.e"][0])
    assert torch.equal(after["prompts.e"][[0, 2]], state["prompts.e"][[0, 2]])
    assert not torch.equal(state["prompts.e"][1], state["prompts.e"][0])


def test_a_key_starts_at_the_mean_query_of_its_tasks_images(toy_extractor):
    learner = learner_of(toy_extractor)
    state, _, _ = begun(learner, first_state(learner), 0, [0, 1])
    state = disturbed(state)
    query, labels = images_of([2], count=9)  # classes of unequal size
    after, more, _ = begun(learner, learner.observe(state, query, labels), 1, [5], count=2)
    members = torch.tensor([0.0, 0, 1, 0, 0, 1])
    after = learner.begin_task(
        learner.observe(learner.observe(state, query, labels), more, torch.tensor([5, 5])),
        torch.tensor([1.0]),
        members,
    )
    expected = np.concatenate([query, more]).mean(axis=0)
    np.testing.assert_allclose(after["prompts.keys"][1], expected, atol=1e-6)
    assert torch.equal(after["prompts.keys"][[0, 2]], state["prompts.keys"][[0, 2]])


@pytest.mark.parametrize("kind", ["cosine", "linear"])
def test_new_head_rows(toy_extractor, kind):
    """A cosine head's start at their classes' mean queries, a linear head's stay as they are."""
    config = LearnerConfig(CONFIG.prompts, head=HeadConfig(kind), readout=ReadoutConfig("none"))
    learner = learner_of(toy_extractor, config)
    state, _, _ = begun(learner, first_state(learner), 0, [0, 1])
    state = disturbed(state)
    after, query, labels = begun(learner, state, 1, [2, 3])
    assert torch.equal(after["head.weight"][[0, 1, 4, 5]], state["head.weight"][[0, 1, 4, 5]])
    for label in (2, 3):
        if kind == "cosine":
            mean = query[labels == label].numpy().mean(axis=0)
            np.testing.assert_allclose(after["head.weight"][label], mean, atol=1e-6)
        else:
            assert torch.equal(after["head.weight"][label], state["head.weight"][label])


def test_adam_starts_afresh_and_continual_backpropagation_goes_on(toy_extractor):
    learner = learner_of(toy_extractor)
    state = disturbed(begun(learner, first_state(learner), 0, [0])[0])
    after, _, _ = begun(learner, state, 1, [1])
    for name, value in state.items():
        if name.startswith("adam."):
            assert after[name].eq(0).all()
        elif name.startswith(("cbp.", "block.")):
            assert torch.equal(after[name], value)


def test_a_known_task_goes_on_and_takes_new_classes(toy_extractor):
    learner = learner_of(toy_extractor)
    state = first_state(learner)
    for task, classes in ((0, [0, 1]), (1, [2])):
        state = disturbed(begun(learner, state, task, classes)[0])
    after, query, _ = begun(learner, state, 0, [0, 5])
    assert after["tasks.current"].tolist() == [0]
    assert after["tasks.known"].tolist() == [1, 1, 0]
    assert after["classes.task"].tolist() == [0, 0, 1, -1, -1, 0]
    for name in ("prompts.g", "prompts.e", "prompts.keys"):
        assert torch.equal(after[name], state[name])
    assert torch.equal(after["head.weight"][:5], state["head.weight"][:5])
    np.testing.assert_allclose(after["head.weight"][5], query[5:].numpy().mean(0), atol=1e-6)


def test_a_class_keeps_its_task(toy_extractor):
    learner = learner_of(toy_extractor)
    state = disturbed(begun(learner, first_state(learner), 0, [0, 1])[0])
    after, _, _ = begun(learner, state, 1, [1, 2])
    assert after["classes.task"].tolist() == [0, 0, 1, -1, -1, -1]
    assert torch.equal(after["head.weight"][:2], state["head.weight"][:2])


def test_without_prompts_a_task_begins_all_the_same(toy_extractor):
    config = LearnerConfig(PromptConfig((), 1, (), 1))
    learner = learner_of(toy_extractor, config)
    state, query, _ = begun(learner, first_state(learner), 0, [0, 1])
    assert not any(name.startswith("prompts.") for name in state)
    scores, chosen = learner.predict(state, query.view(10, 1, 1, DIM), query)
    assert scores[:, :2].isfinite().all()
    assert chosen.eq(0).all()
