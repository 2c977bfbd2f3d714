"""A bundle for GPUs through Vulkan: lowered here, and not run."""

import pytest

from cbpnet.host.errors import InputError
from cbpnet.method.layout import forward_methods
from cbpnet.method.learner import Learner
from mobile.export.bundle_learner import bundle_functions
from mobile.export.lowering import lower
from mobile.export.tracing import trace
from mobile.targets import TARGETS, resolve_target
from mobile.targets.backend import Calibration
from quantize.trunk import FrozenTrunk


@pytest.fixture(scope="module")
def lowered(small_backbone, server):
    """Query and predict on Vulkan, by precision, and the bytes of their program."""

    def build(precision):
        backend = resolve_target("vulkan", "int8").backend
        forward = backend.unquantised(FrozenTrunk(small_backbone, "fp32"))
        if precision == "int8":
            forward = backend.quantised(forward, Calibration([], [], 2))
        learner = Learner(forward, server.info.config, 6, 3)
        programs = [
            trace(function, plain=True)
            for function in bundle_functions(learner, server.grown, 2, 16)
            if function.name in forward_methods(server.info.config)
        ]
        found = lower(programs, NotImplemented, backend.partitioner, backend.passes)
        return found, found.serialise()

    return {precision: build(precision) for precision in TARGETS["vulkan"].precisions}


@pytest.mark.slow
def test_query_and_predict_are_vulkans(lowered):
    for found, program in lowered.values():
        assert b"VulkanBackend" in program
        for method in ("query", "predict"):
            assert found.delegation[method].delegate_calls == 1
            assert sum(found.delegation[method].arithmetic.values()) < 10


@pytest.mark.slow
def test_weights_of_int8_are_a_quarter_as_large(lowered, small_backbone):
    layers = FrozenTrunk(small_backbone, "fp32").layers.values()
    weights = sum(layer.weight.nbytes for layer in layers)
    sizes = {precision: len(program) for precision, (_, program) in lowered.items()}
    assert sizes["fp32"] - sizes["int8"] > 0.5 * weights


def test_it_has_no_options_and_needs_no_images():
    assert not resolve_target("vulkan", "int8").calibrated
    with pytest.raises(InputError, match="vulkan has no option 'device'; it has none"):
        resolve_target("vulkan", "int8", {"device": "0"})


def test_it_does_not_run_here():
    assert not resolve_target("vulkan", "int8").backend.runs_here
