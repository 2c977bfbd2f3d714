"""The target ethos-u: rounded by Arm's quantiser, compiled by Vela, checked by TOSA's own model."""

import importlib.util

import numpy as np
import pytest
import torch

import mobile.export.lowering
from cbpnet.host.errors import InputError
from mobile.export.calibration import calibration_passes
from mobile.targets import TARGETS, resolve_target
from mobile.targets.backend import Calibration
from mobile.targets.vela_summary import read_summary
from quantize.trunk import FrozenTrunk

needs_vela = pytest.mark.skipif(
    bool(TARGETS["ethos-u"].missing),
    reason=f"ethos-u is not installed: {TARGETS['ethos-u'].install}",
)

# Of Vela 5.1.0 for a ViT-Ti; columns that nobody reads are left out.
SUMMARY = """\
experiment,network,accelerator_configuration,core_clock,inferences_per_second,sram_memory_used,\
dram_memory_used,on_chip_flash_memory_used,off_chip_flash_memory_used,cycles_npu,cycles_total
default,out,Ethos_U85_256,1000000000.0,23.356926086516903,1904.0,0.0,5767.921875,0.0,40791206,42813853
"""


@pytest.fixture(scope="module")
def exported(export_for):
    """A bundle, the backend that made it, and the rounded trunk in it."""
    target, trunks = resolve_target("ethos-u", "int8"), []
    quantised = target.backend.quantised

    def remember(*arguments):
        trunks.append(quantised(*arguments))
        return trunks[-1]

    target.backend.quantised = remember
    with pytest.MonkeyPatch.context() as patch:
        # Beside two layers a thousand logits' norms are no crumb.
        patch.setattr(mobile.export.lowering, "_CRUMB", 0.1)
        bundle = export_for(target)
    (trunk,) = trunks
    return bundle, target.backend, trunk


@pytest.fixture(scope="module")
def images():
    return torch.randn(6, 3, 16, 16, generator=torch.Generator().manual_seed(3))


def test_without_vela_it_is_refused_with_the_command_that_brings_it(monkeypatch):
    true = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "ethosu.vela" else true(name)
    )
    with pytest.raises(InputError, match=r"ethosu\.vela.*`pip install .*\[export,ethos-u\]'`"):
        resolve_target("ethos-u", "int8")


def test_an_accelerator_that_does_not_exist_is_refused_with_those_that_do():
    with pytest.raises(InputError, match=r"accelerator of .* must be one of ethos-u85-256, "):
        resolve_target("ethos-u", "int8", {"accelerator": "ethos-u95"})


@needs_vela
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"accelerator": "ethos-u55-128", "system": "Ethos_U85_SYS_DRAM_Mid"},
            "is not one for ethos-u55-128; its name must begin with Ethos_U55",
        ),
        (
            {"accelerator": "ethos-u55-128", "memory_mode": "Dedicated_Sram"},
            "ethos-u55-128 .* has no memory_mode 'Dedicated_Sram'",
        ),
    ],
)
def test_memories_that_an_accelerator_does_not_have_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        resolve_target("ethos-u", "int8", options)


@needs_vela
@pytest.mark.parametrize("accelerator", TARGETS["ethos-u"].options["accelerator"].choices)
def test_every_accelerator_has_memories(accelerator):
    assert (
        resolve_target("ethos-u", "int8", {"accelerator": accelerator}).backend.accelerator
        == accelerator
    )


def test_velas_summary_is_read(tmp_path):
    path = tmp_path / "out_summary.csv"
    path.write_text(SUMMARY)
    found = read_summary(path)
    assert found["cycles"] == 42813853
    assert found["npu_cycles"] == 40791206
    assert found["inferences_per_second"] == pytest.approx(found["clock"] / found["cycles"])
    assert (found["sram_kib"], found["dram_kib"]) == (1904, 0)
    assert (found["on_chip_flash_kib"], found["off_chip_flash_kib"]) == (5767.921875, 0)
    for text in (SUMMARY.replace("cycles_total", "cycles"), SUMMARY.splitlines()[0], ""):
        path.write_text(text)
        with pytest.raises(InputError, match=r"out_summary\.csv is not a summary of Vela's"):
            read_summary(path)


@needs_vela
@pytest.mark.parametrize(
    ("accelerator", "least"),
    # A U55 multiplies tensors in 8 bits only, which must also hold prompts of eight times the size.
    [("ethos-u85-256", 0.999), ("ethos-u55-128", 0.99)],
)
def test_whole_numbers_are_near_fp32(trunk, images, config, accelerator, least):
    passes = calibration_passes(config, trunk.dim)
    backend = resolve_target("ethos-u", "int8", {"accelerator": accelerator}).backend
    rounded = backend.quantised(trunk, Calibration([images], passes, 4))
    for prefixes in passes:  # six images, four a time
        cosine = torch.cosine_similarity(rounded(images, prefixes), trunk(images, prefixes))
        assert cosine.min() > least
        assert cosine.min() < 1 - 1e-7
    with pytest.raises(InputError, match=r"before the layers \[1\]; calibrated were \[0, 1\]"):
        rounded(images, {1: passes[0][1]})


@needs_vela
def test_all_features_in_whole_numbers_are_near_fp32(small_backbone, images, config):
    names = ("pooled", "patches", "block0", "block1", "logits1000", "random9")
    trunk = FrozenTrunk(small_backbone, "fp32", features=names)
    passes = calibration_passes(config, trunk.dim)
    backend = resolve_target("ethos-u", "int8").backend
    rounded = backend.quantised(trunk, Calibration([images], passes, 4))
    assert rounded.logits == trunk.logits == 1000
    for prefixes in passes:
        given = images, prefixes, names
        for found, exact in zip(rounded.parts(*given), trunk.parts(*given), strict=True):
            assert torch.cosine_similarity(found, exact).min() > 0.999
    with pytest.raises(InputError, match="'block2' was not asked for when the trunk was made"):
        rounded.parts(images, passes[0], ("pooled", "block2"))


@needs_vela
def test_prompts_may_grow_to_eight_times_the_size_of_those_that_were_drawn(trunk, images, config):
    passes = calibration_passes(config, trunk.dim)
    backend = resolve_target("ethos-u", "int8").backend
    rounded = backend.quantised(trunk, Calibration([images], passes, 2))
    for size in (8, 64):
        learnt = {layer: size * prefix for layer, prefix in passes[0].items()}
        cosine = torch.cosine_similarity(rounded(images, learnt), trunk(images, learnt))
        assert (cosine.min() > 0.999) == (size == 8)


@needs_vela
def test_features_are_the_npus_and_the_rest_is_not(exported):
    bundle, _, _ = exported
    program = bundle.path.read_bytes()
    assert b"EthosUBackend" in program
    assert b"XnnpackBackend" in program
    features = bundle.delegation["features"]
    assert features.delegate_calls == 1
    border = {"quantize_per_tensor", "dequantize_per_tensor"}
    joined = {"sum", "clamp", "rsqrt", "mul", "cat"}  # to a length of one
    assert features.undelegated.keys() == border | joined | {"_softmax", "amax"}
    assert bundle.delegation["gradients"].delegate_calls >= 1
    assert bundle.agreement.features is None
    assert min(bundle.agreement.gradients.values()) > 0.9


@needs_vela
def test_velas_estimates_are_reported(exported):
    compiler = exported[0].compiler
    assert compiler.keys() == {"features"}
    assert compiler["features"]["cycles"] > 0
    assert compiler["features"]["sram_kib"] > 0


@needs_vela
def test_the_compiled_graph_computes_what_pytorch_simulates(exported, trunk, images):
    """TOSA's reference model computes in whole numbers what Vela was given."""
    reference = pytest.importorskip("tosa_reference_model")
    _, backend, rounded = exported
    (tosa,) = backend.folders[0].glob("output_tag*.tosa")
    quantise = [
        node.args[1:]
        for node in rounded.graphs[()].graph.nodes
        if node.target is torch.ops.quantized_decomposed.quantize_per_tensor.default
    ]
    scale_in, scale_out = quantise[0][0], quantise[-1][0]
    found = []
    for image in images:
        given = (image / scale_in).round().clamp(-32767, 32767).to(torch.int16)
        outputs, _ = reference.run(tosa.read_bytes(), [given[None].numpy()])
        numbers = np.frombuffer(bytes(outputs[0]), np.int16).astype(np.float32)
        found.append(torch.from_numpy(numbers) * scale_out)
    simulated = rounded(images)
    assert torch.cosine_similarity(torch.stack(found), simulated).min() > 0.999
    # noise, where pictures of one colour were calibrated on
    assert torch.cosine_similarity(torch.stack(found), trunk(images)).min() > 0.98
