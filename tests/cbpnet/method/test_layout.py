import re

import pytest

import cbpnet.method.state
from cbpnet.method.config import (
    AdaptationConfig,
    BlockConfig,
    HeadConfig,
    LearnerConfig,
    PromptConfig,
    ReadoutConfig,
)
from cbpnet.method.layout import (
    POOL_OF,
    SUMS,
    count_parameters,
    counted_axes,
    forward_methods,
    methods_of,
    prefixed,
    readout_axes,
    state_layout,
    stored_in,
    trainable_layout,
    unprefixed,
)
from cbpnet.method.learner import Learner
from cbpnet.method.one_pass import OnePassLearner

DIM, CLASSES, TASKS = 8, 7, 3
PROMPTS = PromptConfig(g_layers=(0, 1), g_length=5, e_layers=(2, 3, 4), e_length=4)
FULL = LearnerConfig(
    PROMPTS, BlockConfig(6), head=HeadConfig("linear"), readout=ReadoutConfig(features=4)
)


def test_trainables_of_every_part():
    assert trainable_layout(FULL, DIM, CLASSES) == {
        "prompts.g": (2, 2, 5, 8),
        "prompts.e": (1, 3, 2, 4, 8),
        "prompts.key": (1, 8),
        "block.w_in": (1, 8, 6),
        "block.b_in": (1, 6),
        "block.w_out": (1, 6, 8),
        "head.weight": (7, 8),
        "head.bias": (7,),
    }


def test_the_smallest_learner_is_a_cosine_head():
    config = LearnerConfig(PromptConfig(g_layers=(), e_layers=()), readout=ReadoutConfig("none"))
    assert trainable_layout(config, DIM, CLASSES) == {"head.weight": (7, 8)}
    assert list(state_layout(config, DIM, CLASSES, TASKS)) == [
        "head.weight",
        "adam.m.head.weight",
        "adam.v.head.weight",
        "adam.step",
        "tasks.current",
        "tasks.known",
        "classes.task",
        "classes.count",
        "classes.mean",
    ]


def test_the_state_holds_pools_moments_and_statistics_in_one_order():
    trainables = trainable_layout(FULL, DIM, CLASSES)
    layout = state_layout(FULL, DIM, CLASSES, TASKS)
    assert list(layout) == [
        *("prompts.keys" if name == "prompts.key" else name for name in trainables),
        *(f"adam.m.{name}" for name in trainables),
        *(f"adam.v.{name}" for name in trainables),
        *("adam.step", "cbp.utility", "cbp.age", "cbp.accumulator"),
        *("tasks.current", "tasks.known", "classes.task"),
        *("classes.count", "classes.mean"),
        *("readout.projection", "readout.inverse", "readout.weight"),
    ]
    assert layout["prompts.e"] == (3, 3, 2, 4, 8)
    assert layout["prompts.keys"] == (3, 8)
    assert layout["adam.m.prompts.e"] == layout["adam.v.prompts.e"] == (1, 3, 2, 4, 8)
    assert layout["adam.m.prompts.key"] == (1, 8)
    assert layout["cbp.utility"] == layout["cbp.age"] == (1, 6)
    assert layout["cbp.accumulator"] == layout["adam.step"] == layout["tasks.current"] == (1,)
    assert layout["tasks.known"] == (3,)
    assert layout["classes.task"] == layout["classes.count"] == (7,)
    assert layout["readout.inverse"] == (8 + 4 + 1, 8 + 4 + 1)
    assert layout["readout.projection"] == (8, 4)


def test_every_pool_is_that_of_a_trainable():
    assert POOL_OF.keys() <= trainable_layout(FULL, DIM, CLASSES).keys()
    assert set(POOL_OF.values()) <= state_layout(FULL, DIM, CLASSES, TASKS).keys()


def test_counted_axes_are_those_that_grow_with_the_capacity():
    small = state_layout(FULL, DIM, CLASSES, TASKS)
    larger = {
        "classes": state_layout(FULL, DIM, CLASSES + 1, TASKS),
        "tasks": state_layout(FULL, DIM, CLASSES, TASKS + 1),
    }
    for name, counted in counted_axes(FULL, DIM).items():
        for capacity, layout in larger.items():
            added = int(capacity == counted)
            assert layout[name] == (small[name][0] + added, *small[name][1:]), name


def test_parameters_of_a_part():
    layout = trainable_layout(FULL, DIM, CLASSES)
    assert count_parameters(layout, "head") == CLASSES * DIM + CLASSES
    block, prompts = DIM * 6 + 6 + 6 * DIM, 2 * 2 * 5 * DIM + 3 * 2 * 4 * DIM + DIM
    assert count_parameters(layout, "block", "prompts") == block + prompts


def test_a_learner_has_every_method():
    methods = methods_of(FULL)
    assert all(callable(getattr(Learner, name)) for name in methods)
    assert set(forward_methods(FULL)) < set(methods)


@pytest.mark.parametrize("kind", ["auto", "never"])
def test_functions_of_the_one_pass_learner_are_called_what_they_are_called_in_a_bundle(kind):
    layers = () if kind == "never" else (0, 1)
    config = LearnerConfig(PromptConfig(layers, e_layers=()), adaptation=AdaptationConfig(kind))
    methods = methods_of(config)
    of_the_adaptation = {"gradients", "update"} & set(methods)
    assert of_the_adaptation == (set() if kind == "never" else {"gradients", "update"})
    assert all(callable(getattr(OnePassLearner, name)) for name in set(methods) - of_the_adaptation)
    assert set(forward_methods(config)) < set(methods)


def test_every_trainable_is_stored_in_the_state():
    layout = state_layout(FULL, DIM, CLASSES, TASKS)
    for name, shape in trainable_layout(FULL, DIM, CLASSES).items():
        assert layout[stored_in(name)][1:] == shape[1:]


def test_prefixes_come_and_go():
    given = prefixed(SUMS, {"loss": 1, "count": 2})
    assert given == {"sums.loss": 1, "sums.count": 2}
    assert unprefixed(SUMS, {"query": 0, **given}) == {"loss": 1, "count": 2}


@pytest.mark.parametrize("config", [FULL, LearnerConfig()])
def test_the_documented_table_names_every_tensor(config):
    rows = re.findall(r"^\| (`.*?`) \|", cbpnet.method.state.__doc__, flags=re.MULTILINE)
    patterns = [
        name.replace(".", r"\.").replace("*", ".*") for name in re.findall("`(.*?)`", "".join(rows))
    ]
    layout = state_layout(config, DIM, CLASSES, TASKS)
    assert [n for n in layout if not any(re.fullmatch(p, n) for p in patterns)] == []


def test_the_readouts_layout_depends_on_its_kind():
    means = {"classes.count": ("classes",), "classes.mean": ("classes", 4)}
    rls = {
        "readout.projection": (4, 3),
        "readout.inverse": (8, 8),
        "readout.weight": ("classes", 8),
    }
    assert readout_axes(ReadoutConfig("none"), 4) == means
    assert readout_axes(ReadoutConfig("means"), 4) == means
    assert readout_axes(ReadoutConfig("rls", features=3), 4) == means | rls
