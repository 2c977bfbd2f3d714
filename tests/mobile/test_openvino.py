"""A bundle of two backends, run: OpenVINO queries and predicts, XNNPACK learns, on one state."""

from dataclasses import replace

import pytest
import torch
from PIL import Image

from cbpnet.config import PromptConfig
from cbpnet.initial import draw_state
from cbpnet.learner import Learner
from mobile.export import ExportSettings, export_bundle
from mobile.program import Program
from mobile.program_learner import ProgramLearner
from mobile.quantisation import read_calibration_images
from mobile.targets import TARGETS

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


@pytest.fixture(scope="module", params=["fp32", "int8"])
def export(request, small_backbone, config, photos, tmp_path_factory):
    state = draw_state(config, small_backbone.dim, CLASSES, TASKS, torch.Generator().manual_seed(2))
    path = tmp_path_factory.mktemp("openvino") / "openvino.pte"
    settings = ExportSettings("openvino", request.param, CLASSES, TASKS, micro_batch=2)
    images = read_calibration_images(photos) if settings.calibrated else []
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
