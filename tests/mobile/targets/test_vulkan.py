"""A bundle for GPUs through Vulkan: lowered here, and not run."""

import pytest

from cbpnet.host.errors import InputError
from cbpnet.host.random_streams import RandomStream
from cbpnet.method.one_pass import OnePassLearner
from mobile.export.bundle_learner import bundle_functions
from mobile.export.lowering import lower
from mobile.export.tracing import trace
from mobile.targets import TARGETS, resolve_target
from mobile.targets.backend import Calibration


@pytest.fixture(scope="module")
def lowered(trunk, config):
    """Features on Vulkan, by precision, and the bytes of their program."""

    def build(precision):
        backend = resolve_target("vulkan", "int8").backend
        forward = backend.unquantised(trunk)
        if precision == "int8":
            forward = backend.quantised(forward, Calibration([], [], 2))
        learner = OnePassLearner(forward, config, 6)
        state = learner.initial_state(RandomStream(2, 0))
        functions = {part.name: part for part in bundle_functions(learner, state, 2, 16)}
        traced = trace(functions["features"], plain=True)
        found = lower([traced], NotImplemented, backend.partitioner, backend.passes)
        return found, found.serialise()

    return {precision: build(precision) for precision in TARGETS["vulkan"].precisions}


@pytest.mark.slow
def test_features_are_vulkans(lowered):
    for found, program in lowered.values():
        assert b"VulkanBackend" in program
        assert found.delegation["features"].delegate_calls == 1
        assert sum(found.delegation["features"].arithmetic.values()) < 10


@pytest.mark.slow
def test_weights_of_int8_are_a_quarter_as_large(lowered, trunk):
    weights = sum(layer.weight.nbytes for layer in trunk.layers.values())
    sizes = {precision: len(program) for precision, (_, program) in lowered.items()}
    assert sizes["fp32"] - sizes["int8"] > 0.5 * weights


def test_it_has_no_options_and_needs_no_images():
    assert not resolve_target("vulkan", "int8").calibrated
    with pytest.raises(InputError, match="vulkan has no option 'device'; it has none"):
        resolve_target("vulkan", "int8", {"device": "0"})


def test_it_does_not_run_here():
    assert not resolve_target("vulkan", "int8").backend.runs_here
