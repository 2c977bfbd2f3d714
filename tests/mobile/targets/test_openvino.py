"""A bundle of two backends, run: OpenVINO queries and predicts, XNNPACK learns, on one state."""

from dataclasses import replace
from statistics import fmean

import pytest
import torch
from PIL import Image

from cbpnet.data.digits import load_digits
from cbpnet.data.stream import make_stream
from cbpnet.host.errors import InputError
from cbpnet.method.config import PromptConfig
from cbpnet.method.initial import draw_state
from cbpnet.method.learner import Learner
from cbpnet.run.training import TrainingConfig
from mobile.device.program import Program
from mobile.device.program_learner import ProgramLearner
from mobile.export.calibration import read_calibration_images
from mobile.export.exporter import ExportSettings, export_bundle
from mobile.measure.evaluation import BundleEvaluation
from mobile.targets import TARGETS, resolve_target
from mobile.targets.backend import Calibration
from quantize.distance import mean_cosine
from quantize.half_precision import HalfPrecisionTrunk
from quantize.trunk import FrozenTrunk

CLASSES, TASKS = 6, 3

needs_openvino = pytest.mark.skipif(
    bool(TARGETS["openvino"].missing),
    reason=f"OpenVINO is not installed: {TARGETS['openvino'].install}",
)


@pytest.fixture(scope="module")
def photos(pictures, tmp_path_factory):
    """A folder of class folders with pictures to calibrate on."""
    root = tmp_path_factory.mktemp("photos")
    for colour in ("red", "green", "blue"):
        (root / colour).mkdir()
        for number, pixels in enumerate(pictures(colour, 4)):
            Image.fromarray(pixels).resize((16, 16)).save(root / colour / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def config(server):
    return replace(server.info.config, prompts=PromptConfig((0,), 2, (1,), 2))


@pytest.fixture(scope="module", params=["fp32", "float", "int8"])
def export(request, small_backbone, config, photos, tmp_path_factory):
    """A bundle in fp32, or in int8 with activations as the parameter says."""
    state = draw_state(config, small_backbone.dim, CLASSES, TASKS, torch.Generator().manual_seed(2))
    path = tmp_path_factory.mktemp("openvino") / "openvino.pte"
    if request.param == "fp32":
        target = resolve_target("openvino", "fp32")
    else:
        target = resolve_target("openvino", "int8", {"activations": request.param})
    settings = ExportSettings(target, CLASSES, TASKS, micro_batch=2)
    images = read_calibration_images(photos) if target.calibrated else []
    return export_bundle(path, small_backbone, config, state, settings, calibration=images)


@needs_openvino
def test_query_and_predict_are_openvinos_and_the_rest_is_not(export):
    program = export.path.read_bytes()
    assert b"OpenvinoBackend" in program
    assert b"XnnpackBackend" in program
    for method in ("query", "predict"):
        assert export.delegation[method].delegate_calls >= 1
        outside = sum(export.delegation[method].arithmetic.values())
        assert outside < 0.01 * export.delegation[method].total
    assert export.delegation["gradients"].delegate_calls >= 1


@needs_openvino
def test_it_learns_what_pytorch_learns(export, small_backbone, config):
    """A task in twenty steps: classes alike, scores near, and nearest of all in fp32."""
    bundle = ProgramLearner(Program(export.path))
    eager = Learner(small_backbone, config, CLASSES, TASKS)
    generator = torch.Generator().manual_seed(7)
    labels = torch.arange(12) % 3
    images = torch.randn(12, 3, 16, 16, generator=generator) + labels.view(-1, 1, 1, 1) - 1.0
    noise = torch.rand(20, *eager.noise_shape, generator=generator)
    found = []
    for learner in (bundle, eager):
        with torch.no_grad():
            query = learner.query(images)
            state = learner.observe(bundle.stored_state(), query, labels)
            state = learner.begin_task(state, torch.zeros(1), torch.eye(3, CLASSES).sum(dim=0))
        for step in range(20):
            rows = torch.arange(4) + 4 * (step % 3)
            sums = learner.gradients(
                state, images[rows], query[rows], labels[rows], learner.zero_sums()
            )
            with torch.no_grad():
                state = learner.update(state, sums, noise[step], torch.ones(1))
        with torch.no_grad():
            found.append((query, learner.predict(state, images, query)[0][:, :3]))
    (query, scores), (true_query, true_scores) = found
    exact = export.manifest.precision == "fp32"
    assert torch.cosine_similarity(query, true_query).min() > (0.9999 if exact else 0.95)
    assert scores.argmax(dim=1).equal(true_scores.argmax(dim=1))
    torch.testing.assert_close(scores, true_scores, rtol=0, atol=0.1 if exact else 1.0)


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
def test_sessions_end_where_xnnpack_alone_ends(export, int8_bundle, tmp_path):
    """Six digits, two a task: predictions on OpenVINO, gradients on XNNPACK.

    A network that has seen nothing decides at random; what the readout decides is compared.
    """
    training = TrainingConfig(epochs=2, batch_size=10, micro_batch=10)
    final = []
    for path in (export.path, int8_bundle):
        folder = tmp_path / path.stem
        folder.mkdir()
        program = Program(path)
        for seed in range(4):
            stream = make_stream(load_digits(), 2, 20, None, seed, range(CLASSES))
            session = BundleEvaluation(program, stream, training, seed, folder)
            _, with_readout = session.run(lambda images: None)
            final.append(with_readout.matrix[-1].mean())
    ours, xnnpack = fmean(final[:4]), fmean(final[4:])
    assert xnnpack > 0.6
    assert abs(ours - xnnpack) <= 0.015
