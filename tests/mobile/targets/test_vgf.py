"""The target vgf: lowered where its compiler is, and run where Vulkan has Arm's extensions."""

import importlib.util
from dataclasses import replace

import pytest
import torch
from PIL import Image

from cbpnet.host.errors import InputError
from cbpnet.method.config import PromptConfig
from cbpnet.method.initial import draw_state
from cbpnet.method.learner import Learner
from mobile.device.program import Program
from mobile.device.program_learner import ProgramLearner
from mobile.export.calibration import calibration_passes, read_calibration_images
from mobile.export.exporter import ExportSettings, export_bundle
from mobile.targets import TARGETS, resolve_target
from mobile.targets.backend import Calibration
from quantize.trunk import FrozenTrunk

CLASSES, TASKS = 6, 3
_ATEN = torch.ops.aten
INDICES = {"arange", "argmax", "eq", "unsqueeze_copy", "_to_copy"}  # of tasks, and what reads them

# What executorch 1.4.1's exporter for Arm does itself.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed file .*tosa.vgf:ResourceWarning")

needs_vgf = pytest.mark.skipif(
    bool(TARGETS["vgf"].missing), reason=f"VGF is not installed: {TARGETS['vgf'].install}"
)


@pytest.fixture(scope="module")
def config(server):
    return replace(server.info.config, prompts=PromptConfig((0,), 2, (1,), 2))


@pytest.fixture(scope="module")
def photos(pictures, tmp_path_factory):
    """A folder of class folders with pictures to calibrate on."""
    root = tmp_path_factory.mktemp("photos")
    for colour in ("red", "green", "blue"):
        (root / colour).mkdir()
        for number, pixels in enumerate(pictures(colour, 4)):
            Image.fromarray(pixels).resize((16, 16)).save(root / colour / f"{number}.png")
    return root


@pytest.fixture(scope="module", params=["fp32", "int8"])
def export(request, small_backbone, config, photos, tmp_path_factory):
    state = draw_state(config, small_backbone.dim, CLASSES, TASKS, torch.Generator().manual_seed(2))
    path = tmp_path_factory.mktemp("vgf") / "vgf.pte"
    target = resolve_target("vgf", request.param)
    settings = ExportSettings(target, CLASSES, TASKS, micro_batch=2)
    images = read_calibration_images(photos) if target.calibrated else []
    return export_bundle(path, small_backbone, config, state, settings, calibration=images)


def test_without_its_compiler_it_is_refused_with_the_command_that_brings_it(monkeypatch):
    true = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "model_converter" else true(name)
    )
    with pytest.raises(InputError, match=r"model_converter.*`pip install .*\[export,vgf\]'`"):
        resolve_target("vgf", "int8")


@needs_vgf
def test_all_of_query_and_predict_but_indices_is_vgfs(export):
    program = export.path.read_bytes()
    assert b"VgfBackend" in program
    assert b"XnnpackBackend" in program
    assert export.delegation["query"].delegate_calls == 1
    assert export.delegation["query"].undelegated == {}
    assert export.delegation["predict"].delegate_calls <= 3  # before and after a task is chosen
    assert export.delegation["predict"].undelegated.keys() <= INDICES
    assert export.delegation["gradients"].delegate_calls >= 1


@needs_vgf
def test_where_nothing_runs_it_only_what_learns_is_compared(export):
    runs = resolve_target("vgf", "int8").backend.runs_here
    assert (export.agreement.features is not None) == runs
    assert (export.agreement.scores is not None) == runs
    assert min(export.agreement.gradients.values()) > 0.9


@needs_vgf
def test_layers_are_rounded_but_for_those_that_must_not_be(small_backbone, config, monkeypatch):
    """Each layer's share of the error is tiny here, so the search is told to keep one."""
    from mobile.targets import vgf

    def kept(trunk, batches, passes):
        found = calibrated_trunk(trunk, batches, passes)
        return replace(found, recipe=replace(found.recipe, keep_fp32=["blocks.1.fc2"]))

    calibrated_trunk = vgf.calibrated_trunk
    monkeypatch.setattr(vgf, "calibrated_trunk", kept)
    exact = FrozenTrunk(small_backbone, "fp32")
    images = torch.randn(8, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    passes = calibration_passes(config, small_backbone.dim)
    trunk = vgf.Backend().quantised(exact, Calibration([images], passes, 4))
    for graph in trunk.graphs.values():
        linears = [node for node in graph.graph.nodes if node.target is _ATEN.linear.default]
        rounded = [
            "dequantize" in str(node.args[0]) and "quantize" in str(next(iter(node.users)))
            for node in linears
        ]
        assert dict(zip(exact.layers, rounded, strict=True)) == {
            name: name != "blocks.1.fc2" for name in exact.layers
        }
    with torch.no_grad():
        for prefixes in passes:
            found, wanted = trunk(images, prefixes), exact(images, prefixes)
            assert torch.cosine_similarity(found, wanted).min() > 0.99
            assert not found.equal(wanted)


@needs_vgf
def test_it_learns_what_pytorch_learns(export, small_backbone, config):
    """A task in twenty steps: classes alike, scores near, and nearest of all in fp32."""
    if not resolve_target("vgf", "int8").backend.runs_here:
        pytest.skip(
            "no Vulkan device has VK_ARM_tensors and VK_ARM_data_graph; "
            "mobile/targets/vgf_emulation.sh runs a command where they are emulated"
        )
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
    assert torch.cosine_similarity(query, true_query).min() > (0.99999 if exact else 0.95)
    assert scores.argmax(dim=1).equal(true_scores.argmax(dim=1))
    torch.testing.assert_close(scores, true_scores, rtol=0, atol=0.001 if exact else 1.0)
