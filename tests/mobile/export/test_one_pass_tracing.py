"""The one-pass learner's traced functions: what each takes and gives, and computes."""

from dataclasses import replace

import pytest
import torch

from cbpnet.host.random_streams import RandomStream
from cbpnet.method.config import AdaptationConfig, PromptConfig
from cbpnet.method.layout import adaptation_config, methods_of, state_layout
from cbpnet.method.one_pass import OnePassLearner
from mobile.export.one_pass_functions import one_pass_functions
from mobile.export.tracing import trace
from quantize.trunk import FrozenTrunk

from ..toy_bundles import ONE_PASS_CONFIG

CLASSES, BATCH = 6, 2
FEATURES = ("pooled", "patches", "block0", "random9")
CONFIG = replace(ONE_PASS_CONFIG, prompts=PromptConfig((0, 1), 2, (), 1), features=FEATURES)
NEVER = replace(CONFIG, prompts=PromptConfig((), 2, ()), adaptation=AdaptationConfig("never"))

STATISTICS = ["classes.count", "classes.mean", "classes.scatter"]
READOUT = ["readout.weight", "readout.bias", "readout.prior", "readout.scale"]
METRIC = ["inverse", "projected", "ridge", "trace", "related"]
UNKNOWN = ["unknown.centre", "unknown.metric", "unknown.slope", "unknown.offset"]
EVIDENCE = ["right", "count", "likelihood", "unknown"]
DRIFT = ["before_before", "before_after", "after_after", "pairs", "count", "before", "after"]
TRAINED = ["prompts.g", "head.weight"]
ADAM = [f"adam.{moment}.{name}" for moment in ("m", "v") for name in TRAINED]
SUMS = [*TRAINED, "loss", "correct", "count"]


def named(prefix, names):
    return [prefix + name for name in names]


TAKES = {
    "initial_state": [],
    "features": ["images", "state.prompts.g"],
    "observe": ["x", "labels", *named("state.", STATISTICS)],
    "solve": ["prior", "scale", *named("state.", STATISTICS)],
    "leave_one_out": [
        *["x", "labels", "copies", "members", *METRIC],
        *named("state.", ["classes.count", "classes.mean"]),
        *named("sums.", EVIDENCE),
    ],
    "predict": [
        "x",
        *named("state.", ["classes.count", "readout.weight", "readout.bias", *UNKNOWN]),
    ],
    "begin_task": ["members", *named("state.", ["prompts.g", "classes.mean"])],
    "gradients": [
        *["images", "labels"],
        *named("adaptation.", [*TRAINED, "tasks.current", "classes.task"]),
        *named("sums.", SUMS),
    ],
    "update": [
        "rate",
        *named("adaptation.", [*TRAINED, *ADAM, "adam.step"]),
        *named("sums.", [*TRAINED, "count"]),
    ],
    "compare": ["before", "after", "weight", "labels", *named("drift.", DRIFT)],
    "carry": [*named("drift.", DRIFT), *named("state.", STATISTICS)],
}
GIVES = {
    "features": ["x", "confidence"],
    "observe": named("state.", STATISTICS),
    "solve": [*METRIC, *named("state.", [*READOUT, *UNKNOWN])],
    "leave_one_out": named("sums.", EVIDENCE),
    "predict": ["scores", "probabilities", "unknown"],
    "gradients": named("sums.", SUMS),
    "update": named("adaptation.", [*TRAINED, *ADAM, "adam.step"]),
    "compare": named("drift.", DRIFT),
    "carry": named("state.", ["classes.mean", "classes.scatter"]),
}


def functions_of(backbone, config, features):
    trunk = FrozenTrunk(backbone, "fp32", features=features)
    learner = OnePassLearner(trunk, config, CLASSES)
    state = learner.initial_state(RandomStream(2, 0))
    return {part.name: part for part in one_pass_functions(learner, state, BATCH, 16)}


@pytest.fixture(scope="module")
def functions(small_backbone):
    """Those of a learner that asks the classifier, of whose logits it counts none."""
    return functions_of(small_backbone, CONFIG, (*FEATURES, "logits1000"))


@pytest.fixture(scope="module")
def traced(functions):
    return {name: trace(function) for name, function in functions.items()}


@pytest.mark.parametrize("name", TAKES)
def test_each_method_takes_what_it_reads_and_gives_what_it_changes(traced, name, small_backbone):
    dim = small_backbone.dim
    whole = {
        "initial_state": named("state.", state_layout(CONFIG, dim, CLASSES, 1)),
        "begin_task": named(
            "adaptation.", state_layout(adaptation_config(CONFIG), dim, CLASSES, 1)
        ),
    }
    assert sorted(traced[name].inputs) == sorted(TAKES[name])
    assert sorted(traced[name].outputs) == sorted((GIVES | whole)[name])
    assert bool(traced[name].frozen_layers) == (name in ("features", "gradients"))


def test_what_never_adapts_has_no_method_for_it_and_no_prompt(small_backbone):
    functions = functions_of(small_backbone, NEVER, FEATURES)
    assert tuple(functions) == methods_of(NEVER)
    found = trace(functions["features"])
    assert (list(found.inputs), list(found.outputs)) == (["images"], ["x"])


def given(function):
    """Other numbers than it was traced with, of the kind that each tensor holds."""
    generator = torch.Generator().manual_seed(3)

    def value(key, like):
        name = key.rpartition(".")[2]
        random = torch.rand(like.shape, generator=generator)
        if key == "labels":
            return torch.tensor([1, 4]).repeat(len(like) // 2)
        if key == "members" or key.endswith("classes.task"):
            return (torch.arange(CLASSES) % 3 == 1).float() - float(key.endswith("task"))
        if name in ("scatter", "before_before", "after_after", "inverse"):
            return random @ random.T + len(random) * torch.eye(len(random))
        if name == "count" or key.endswith("adam.step"):
            return 3 + (9 * random).floor()
        return random

    return {key: value(key, like) for key, like in function.inputs.items()}


@pytest.mark.parametrize("name", TAKES)
def test_a_traced_function_computes_what_it_did(functions, traced, name):
    function, part = functions[name], traced[name]
    inputs = given(function)
    expected = function.call(inputs)
    found = part.program.module()(*(inputs[key] for key in part.inputs))
    for key, value in zip(part.outputs, found, strict=True):
        assert part.outputs[key].shape == value.shape
        scale = expected[key].abs().nan_to_num(0, 0, 0).max().clamp(min=1e-3).item()
        torch.testing.assert_close(value, expected[key], rtol=1e-3, atol=1e-4 * scale, msg=key)
    for key in expected.keys() - part.outputs.keys():
        assert torch.equal(expected[key], inputs[key]), key


@pytest.mark.parametrize("name", ["features", "solve", "begin_task", "carry", "gradients"])
def test_a_plain_function_computes_the_same(functions, traced, name):
    function = functions[name]
    part = trace(function, plain=True)
    assert part.frozen_layers == 0
    assert list(part.outputs) == list(traced[name].outputs)
    inputs = given(function)
    expected = function.call(inputs)
    found = part.program.module()(*(inputs[key] for key in part.inputs))
    for key, value in zip(part.outputs, found, strict=True):
        scale = expected[key].abs().max().clamp(min=1e-3).item()
        torch.testing.assert_close(value, expected[key], rtol=1e-3, atol=1e-4 * scale, msg=key)
