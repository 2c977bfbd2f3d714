"""Traced functions: what each takes and gives, by name, and that they compute what they did."""

import pytest
import torch

from cbpnet.method.learner import Learner
from cbpnet.method.state import LearnerState
from cbpnet.method.tensors import as_tensors
from mobile.export.bundle_learner import bundle_functions
from mobile.export.tracing import Function, trace
from quantize.trunk import FrozenTrunk

TRAINED = ["block.w_in", "block.b_in", "block.w_out", "head.weight"]
POOLS = ["prompts.e", "prompts.keys"]
KNOWN = ["tasks.current", "tasks.known", "classes.task"]
ADAM = [
    f"adam.{moment}.{name}"
    for moment in ("m", "v")
    for name in ("prompts.g", "prompts.e", "prompts.key", *TRAINED)
]
CBP = ["cbp.utility", "cbp.age", "cbp.accumulator"]
READOUT = ["readout.projection", "readout.inverse", "readout.weight"]
SUMS = [f"sums.{name}" for name in ("prompts.g", "prompts.e", "prompts.key", *TRAINED, "activity")]
FIGURES = ["sums.loss", "sums.correct", "sums.count"]


def state(*names):
    return [f"state.{name}" for name in names]


MEANS = ["classes.count", "classes.mean"]
TAKES = {
    "initial_state": [],
    "query": ["images"],
    "observe": ["query", "labels", *state(*MEANS, *READOUT)],
    "begin_task": [
        *["task", "members"],
        *state(*POOLS, "head.weight", "tasks.known", "classes.task", *MEANS),
    ],
    "predict": [
        *["images", "query"],
        *state("prompts.g", *POOLS, *TRAINED, "tasks.known", "classes.task"),
        *state("readout.projection", "readout.weight"),
    ],
    "gradients": [
        *["images", "query", "labels"],
        *state("prompts.g", *POOLS, *TRAINED, "tasks.current", "classes.task", "classes.mean"),
        *SUMS,
        *FIGURES,
    ],
    "update": [
        *["noise", "rate"],
        *state("prompts.g", *POOLS, *TRAINED, *ADAM, "adam.step", *CBP, "tasks.current"),
        *SUMS,
        "sums.count",
    ],
}
GIVES = {
    "query": ["query"],
    "observe": state(*MEANS, "readout.inverse", "readout.weight"),
    "begin_task": state(*POOLS, "head.weight", *ADAM, "adam.step", *KNOWN),
    "predict": ["scores", "task", "network_scores"],
    "gradients": [*SUMS, *FIGURES],
    "update": state("prompts.g", *POOLS, *TRAINED, *ADAM, "adam.step", *CBP),
}


@pytest.fixture(scope="module")
def learner(small_backbone, server):
    return Learner(FrozenTrunk(small_backbone, "fp32"), server.info.config, 6, 3)


@pytest.fixture(scope="module")
def functions(learner, server):
    return {part.name: part for part in bundle_functions(learner, as_tensors(server.grown), 2, 16)}


@pytest.fixture(scope="module")
def traced(functions):
    return {name: trace(function) for name, function in functions.items()}


@pytest.mark.parametrize("name", TAKES)
def test_each_method_takes_what_it_reads_and_gives_what_it_changes(traced, learner, name):
    given = GIVES.get(name, state(*learner.layout))
    assert sorted(traced[name].inputs) == sorted(TAKES[name])
    assert sorted(traced[name].outputs) == sorted(given)


def test_tensors_stand_in_the_order_of_the_layout(traced, learner):
    """So that a host can pass them by position."""
    order = [f"state.{name}" for name in learner.layout]
    for part in traced.values():
        for tensors in (part.inputs, part.outputs):
            states = [name for name in tensors if name.startswith("state.")]
            assert states == [name for name in order if name in tensors], part.name


@pytest.mark.parametrize("name", TAKES)
def test_a_traced_function_computes_what_it_did(functions, traced, name):
    function, part = functions[name], traced[name]
    generator = torch.Generator().manual_seed(3)

    def other(key, value):
        """Other numbers than it was traced with; indices and flags stay what they can be."""
        if key.startswith(("state.tasks.", "state.classes.task")):
            return value
        if key in ("labels", "task"):
            return torch.tensor([1, -1]) if key == "labels" else torch.ones(1)
        return torch.rand(value.shape, generator=generator)

    inputs = {key: other(key, value) for key, value in function.inputs.items()}
    expected = function.call(inputs)
    found = part.program.module()(*(inputs[key] for key in part.inputs))
    for key, value in zip(part.outputs, found, strict=True):
        assert part.outputs[key].shape == value.shape
        torch.testing.assert_close(value, expected[key], rtol=1e-4, atol=1e-5)
    for key in expected.keys() - part.outputs.keys():
        assert torch.equal(expected[key], inputs[key]), key


@pytest.mark.parametrize("name", ["query", "predict"])
def test_a_plain_function_computes_the_same_and_copies_nothing(functions, name):
    function = functions[name]
    part = trace(function, plain=True)
    generator = torch.Generator().manual_seed(3)
    images = torch.randn(2, 3, 16, 16, generator=generator)
    inputs = {**function.inputs, "images": images}
    copying = ("clone", "contiguous", "reshape")
    assert not any(
        name in str(node.target) for node in part.program.graph.nodes for name in copying
    )
    expected = function.call(inputs)
    found = part.program.module()(*(inputs[key] for key in part.inputs))
    for key, value in zip(part.outputs, found, strict=True):
        torch.testing.assert_close(value, expected[key], rtol=1e-4, atol=1e-5)


def test_frozen_layers_are_counted_in_both_directions(traced):
    """Two layers of four GEMMs, the patch embedding, and row sums apart."""
    frozen = {name: part.frozen_layers for name, part in traced.items() if part.frozen_layers}
    assert frozen["query"] == frozen["predict"] == 9
    assert 9 < frozen["gradients"] <= 18
    assert frozen.keys() == {"query", "predict", "gradients"}


def test_what_is_not_read_or_not_changed_is_left_out():
    def call(given):
        return {"sum": given["a"] + given["b"], "c": given["c"], "twice": 2 * given["c"]}

    inputs = {name: torch.ones(2) for name in ("b", "unread", "a", "c")}
    found = trace(Function("f", call, inputs))
    assert list(found.inputs) == ["b", "a", "c"]
    assert list(found.outputs) == ["sum", "twice"]
    total, twice = found.program.module()(
        torch.tensor([1.0, 2.0]), torch.tensor([10.0, 20.0]), torch.tensor([5.0, 6.0])
    )
    assert total.tolist() == [11.0, 22.0]
    assert twice.tolist() == [10.0, 12.0]


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (torch.full((40, 40), 2.5), False),
        (torch.full((3,), -1.0), False),
        (0.01 * torch.eye(40), False),
        (torch.zeros(40, 0), False),
        (torch.arange(1600.0).view(40, 40), True),
        (torch.eye(40) + torch.eye(40).roll(1, 0), True),
    ],
)
def test_an_initial_state_of_one_number_or_a_diagonal_is_not_stored(learner, server, value, stored):
    state = LearnerState({"x": tuple(value.shape)}, {"x": value})
    (first, *_) = bundle_functions(learner, state, 1, 16)
    part = trace(first)
    (found,) = part.program.module()()
    assert torch.equal(found, value)
    held = [*part.program.state_dict.values(), *part.program.constants.values()]
    assert any(tensor.numel() == value.numel() > 1 for tensor in held) == stored
