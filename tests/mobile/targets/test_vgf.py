"""The target vgf: lowered where its compiler is, and run where Vulkan has Arm's extensions."""

import importlib.util
from dataclasses import replace

import pytest
import torch

from cbpnet.host.errors import InputError
from mobile.device.one_pass_program import OnePassProgram
from mobile.device.program import Program
from mobile.export.calibration import calibration_passes
from mobile.targets import TARGETS, resolve_target
from mobile.targets.backend import Calibration
from quantize.distance import mean_cosine
from quantize.trunk import FrozenTrunk

_ATEN = torch.ops.aten
# What executorch 1.4.1's exporter for Arm does itself.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed file .*tosa.vgf:ResourceWarning")

needs_vgf = pytest.mark.skipif(
    bool(TARGETS["vgf"].missing), reason=f"VGF is not installed: {TARGETS['vgf'].install}"
)


@pytest.fixture(scope="module", params=["fp32", "int8"])
def export(request, export_for):
    return export_for(resolve_target("vgf", request.param))


def test_without_its_compiler_it_is_refused_with_the_command_that_brings_it(monkeypatch):
    true = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "model_converter" else true(name)
    )
    with pytest.raises(InputError, match=r"model_converter.*`pip install .*\[export,vgf\]'`"):
        resolve_target("vgf", "int8")


@needs_vgf
def test_all_features_are_vgfs(export):
    program = export.path.read_bytes()
    assert b"VgfBackend" in program
    assert b"XnnpackBackend" in program
    assert export.delegation["features"].delegate_calls == 1
    assert export.delegation["features"].undelegated == {}
    assert export.delegation["gradients"].delegate_calls >= 1


@needs_vgf
def test_where_nothing_runs_it_all_but_its_features_is_compared(export):
    runs = resolve_target("vgf", "int8").backend.runs_here
    assert (export.agreement.features is not None) == runs
    assert export.agreement.scores < 1e-3
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
    trunk = FrozenTrunk(small_backbone, "fp32")
    images = torch.randn(8, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    passes = calibration_passes(config, trunk.dim)
    rounded = vgf.Backend().quantised(trunk, Calibration([images], passes, 4))
    for graph in rounded.graphs.values():
        linears = [node for node in graph.graph.nodes if node.target is _ATEN.linear.default]
        found = [
            "dequantize" in str(node.args[0]) and "quantize" in str(next(iter(node.users)))
            for node in linears
        ]
        assert dict(zip(trunk.layers, found, strict=True)) == {
            name: name != "blocks.1.fc2" for name in trunk.layers
        }
    with torch.no_grad():
        for prefixes in passes:
            found, wanted = rounded(images, prefixes), trunk(images, prefixes)
            assert torch.cosine_similarity(found, wanted).min() > 0.99
            assert not found.equal(wanted)


@needs_vgf
def test_it_learns_what_pytorch_learns(export, exact, taught):
    """Two lessons, of which the first adapts: classes alike, and in fp32 scores near."""
    if not resolve_target("vgf", "int8").backend.runs_here:
        pytest.skip(
            "no Vulkan device has VK_ARM_tensors and VK_ARM_data_graph; "
            "mobile/targets/vgf_emulation.sh runs a command where they are emulated"
        )
    bundle = OnePassProgram(Program(export.path))
    x, scores = map(torch.from_numpy, taught(bundle, bundle.stored_state()))
    true_x, true_scores = map(torch.from_numpy, taught(exact, bundle.stored_state()))
    in_fp32 = export.manifest.precision == "fp32"
    assert torch.cosine_similarity(x, true_x).min() > (0.99999 if in_fp32 else 0.95)
    assert scores.argmax(dim=1).equal(true_scores.argmax(dim=1))
    assert mean_cosine(true_scores, scores) > (0.9999 if in_fp32 else 0.95)
