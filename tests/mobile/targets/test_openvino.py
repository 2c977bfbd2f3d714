"""A bundle of two backends, run: OpenVINO gives features, XNNPACK adapts them, on one state."""

from statistics import fmean

import pytest
import torch

from cbpnet.data.digits import load_digits
from cbpnet.data.stream import make_stream
from cbpnet.host.errors import InputError
from cbpnet.run.training import TrainingConfig
from mobile.device.one_pass_program import OnePassProgram
from mobile.device.program import Program
from mobile.measure.evaluation import BundleEvaluation
from mobile.targets import TARGETS, resolve_target
from mobile.targets.backend import Calibration
from quantize.distance import mean_cosine
from quantize.half_precision import HalfPrecisionTrunk
from quantize.trunk import FrozenTrunk

CLASSES = 6

needs_openvino = pytest.mark.skipif(
    bool(TARGETS["openvino"].missing),
    reason=f"OpenVINO is not installed: {TARGETS['openvino'].install}",
)


@pytest.fixture(scope="module", params=["fp32", "float", "int8"])
def export(request, export_for):
    """A bundle in fp32, or in int8 with activations as the parameter says."""
    if request.param == "fp32":
        return export_for(resolve_target("openvino", "fp32"))
    return export_for(resolve_target("openvino", "int8", {"activations": request.param}))


@needs_openvino
def test_features_are_openvinos_and_the_rest_is_not(export):
    program = export.path.read_bytes()
    assert b"OpenvinoBackend" in program
    assert b"XnnpackBackend" in program
    features = export.delegation["features"]
    assert features.delegate_calls >= 1
    assert sum(features.arithmetic.values()) < 0.01 * features.total
    assert export.delegation["gradients"].delegate_calls >= 1


@needs_openvino
def test_it_learns_what_pytorch_learns(export, exact, taught):
    """Two lessons, of which the first adapts: classes alike, and in fp32 scores near."""
    bundle = OnePassProgram(Program(export.path))
    x, scores = map(torch.from_numpy, taught(bundle, bundle.stored_state()))
    true_x, true_scores = map(torch.from_numpy, taught(exact, bundle.stored_state()))
    in_fp32 = export.manifest.precision == "fp32"
    assert torch.cosine_similarity(x, true_x).min() > (0.999 if in_fp32 else 0.95)
    assert scores.argmax(dim=1).equal(true_scores.argmax(dim=1))
    assert mean_cosine(true_scores, scores) > (0.999 if in_fp32 else 0.95)


@needs_openvino
def test_only_rounded_activations_are_calibrated():
    assert not resolve_target("openvino", "int8").calibrated
    assert resolve_target("openvino", "int8", {"activations": "int8"}).calibrated
    assert not resolve_target("openvino", "fp32", {"activations": "int8"}).calibrated


@needs_openvino
def test_a_device_that_is_not_here_is_refused():
    with pytest.raises(InputError, match=r"finds no NPU on this one; it has .*CPU"):
        resolve_target("openvino", "int8", {"device": "NPU"})


@needs_openvino
def test_a_gpu_gets_a_trunk_in_half_precision(small_backbone, monkeypatch):
    """There it is what computes: in it the squares in its norms do not overflow."""
    monkeypatch.setattr("openvino.Core.available_devices", ["CPU", "GPU"])
    images = torch.randn(2, 3, 16, 16)
    exact = FrozenTrunk(small_backbone, "fp32")
    for device, kind in (("CPU", FrozenTrunk), ("GPU", HalfPrecisionTrunk)):
        backend = resolve_target("openvino", "int8", {"device": device}).backend
        rounded = backend.quantised(exact, Calibration([], [], 1))
        assert isinstance(rounded, kind)
        assert mean_cosine(exact(images), rounded(images)) > 0.999


@needs_openvino
def test_sessions_end_where_xnnpack_alone_ends(export, int8_one_pass, tmp_path):
    """Six digits, two a lesson: features from OpenVINO, gradients on XNNPACK."""
    training = TrainingConfig(epochs=2, batch_size=10, micro_batch=10, final_rate=0.02)
    final = []
    for path in (export.path, int8_one_pass):
        folder = tmp_path / path.stem
        folder.mkdir()
        program = Program(path)
        for seed in range(4):
            stream = make_stream(load_digits(), 2, 20, None, seed, range(CLASSES))
            session = BundleEvaluation(program, stream, training, seed, folder)
            (result,) = session.run(lambda images: None)
            final.append(result.matrix[-1].mean())
    ours, xnnpack = fmean(final[:4]), fmean(final[4:])
    assert xnnpack > 0.6
    assert abs(ours - xnnpack) <= 0.015
