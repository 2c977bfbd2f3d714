"""A bundle for Core ML: lowered here, and run only where Core ML is."""

import sys
from contextlib import redirect_stderr
from dataclasses import replace
from io import StringIO

import pytest

from cbpnet.host.errors import InputError
from cbpnet.host.random_streams import RandomStream
from cbpnet.method.one_pass import OnePassLearner
from mobile.export.bundle_learner import bundle_functions
from mobile.export.lowering import lower
from mobile.export.tracing import trace
from mobile.targets import TARGETS, resolve_target
from mobile.targets.backend import Calibration
from quantize.half_precision import HalfPrecisionTrunk

# executorch 1.4.1 asks coremltools 9.0 in the old way which operators it has.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Function _TORCH_OPS_REGISTRY.__contains__ is deprecated:DeprecationWarning"
)

needs_coreml = pytest.mark.skipif(
    bool(TARGETS["coreml"].missing),
    reason=f"Core ML's converter is not installed: {TARGETS['coreml'].install}",
)


@pytest.fixture(scope="module")
def export(export_for):
    with redirect_stderr(StringIO()) as said:
        written = export_for(resolve_target("coreml", "int8"))
    return written, said.getvalue()


@pytest.mark.slow
@needs_coreml
def test_features_are_core_mls_and_the_rest_is_not(export):
    written, said = export
    program = written.path.read_bytes()
    assert b"CoreMLBackend" in program
    assert b"XnnpackBackend" in program
    found = written.delegation["features"]
    assert (found.delegate_calls, found.undelegated) == (1, {})
    assert written.delegation["gradients"].delegate_calls >= 1
    assert written.manifest.target_options["units"] == "CPU_AND_NE"
    assert said == ""


@pytest.mark.slow
@needs_coreml
@pytest.mark.skipif(sys.platform == "darwin", reason="here Core ML runs")
def test_what_this_machine_cannot_run_has_no_figure(export):
    agreement = export[0].agreement
    assert agreement.features is None
    assert agreement.scores < 1e-3  # of the closed form, which the CPU computes
    assert min(agreement.gradients.values()) > 0.9


@needs_coreml
@pytest.mark.parametrize(
    ("precision", "compute", "minimum", "weights", "activations", "version"),
    [
        ("int8", "float16", "iOS18", "constexpr_blockwise_shift_scale", "fp16", 9),
        ("fp32", "float16", "iOS17", "const", "fp16", 8),
        ("int8", "float32", "iOS16", "constexpr_affine_dequantize", "fp32", 7),
    ],
)
def test_core_mls_model_is_what_was_asked_for(
    trunk, config, monkeypatch, precision, compute, minimum, weights, activations, version
):
    """The version of Core ML's format is the system's; a layer's weight stays int8 in it."""
    models = _record_models(monkeypatch)
    backend = resolve_target("coreml", "int8", {"compute": compute, "minimum": minimum}).backend
    forward = backend.unquantised(trunk)
    if precision == "int8":
        forward = backend.quantised(trunk, Calibration([], [], 2))
    learner = OnePassLearner(forward, replace(config, features=("pooled",)), 6)
    state = learner.initial_state(RandomStream(2, 0))
    functions = {part.name: part for part in bundle_functions(learner, state, 2, 16)}
    lower([trace(functions["features"], plain=True)], NotImplemented, backend.partitioner)
    (model,) = models
    assert model.get_spec().specificationVersion == version
    operators = list(model._mil_program.functions["main"].operations)
    layers = [each for each in operators if each.op_type == "linear"]
    assert len(layers) == len(trunk.layers)
    assert {layer.weight.op.op_type for layer in layers} == {weights}
    products = [each for each in operators if each.op_type in ("linear", "matmul")]
    assert {_type(each.x) for each in products} == {activations}


@needs_coreml
def test_compute_chooses_the_precision(trunk):
    assert isinstance(
        resolve_target("coreml", "int8").backend.unquantised(trunk), HalfPrecisionTrunk
    )
    assert (
        resolve_target("coreml", "int8", {"compute": "float32"}).backend.unquantised(trunk) is trunk
    )


@needs_coreml
def test_no_image_is_needed():
    assert not resolve_target("coreml", "int8").calibrated


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "NE"}, "no option 'device'; it has units, minimum, compute"),
        ({"units": "NPU"}, "units of target coreml is 'NPU'; it must be one of CPU_AND_NE, ALL"),
        ({"minimum": "iOS9"}, "minimum of target coreml is 'iOS9'; it must be one of iOS18"),
        ({"compute": "int4"}, "compute of target coreml is 'int4'; it must be one of float16"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        resolve_target("coreml", "int8", options)


def test_a_missing_converter_is_named(monkeypatch):
    monkeypatch.setattr("mobile.targets.catalogue._installed", lambda name: name != "coremltools")
    with pytest.raises(
        InputError,
        match=r"lacks coremltools .*`pip install 'cbpnet-mobile\[export,coreml\]'`",
    ):
        resolve_target("coreml", "int8")


def _record_models(monkeypatch):
    """Return a list to which every model that Core ML's converter makes is added."""
    import coremltools

    models, convert = [], coremltools.convert

    def recording(*given, **named):
        models.append(convert(*given, **named))
        return models[-1]

    monkeypatch.setattr(coremltools, "convert", recording)
    return models


def _type(value):
    from coremltools.converters.mil.mil.types import builtin_to_string

    return builtin_to_string(value.dtype)
