"""Features by name, lowered for XNNPACK: all in one delegate call, and run by ExecuTorch."""

import importlib
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from cbpnet.backbone.torchvision_compat import import_timm
from cbpnet.backbone.vit import Backbone
from cbpnet.method.features import join_parts
from mobile.export.lowering import Lowered, lower
from mobile.export.tracing import Function, TracedProgram, trace
from mobile.targets.xnnpack import Backend
from quantize.trunk import FrozenTrunk

timm = import_timm()

SMALL = {"depth": 2, "embed_dim": 32, "num_heads": 2, "img_size": 32, "num_classes": 7}
MODELS = {
    "class token": "vit_micro_patch8_32",
    "attention pooling": "vit_base_patch16_siglip_224",
    "rotary": "vit_small_patch16_dinov3",
}
NAMES = ("pooled", "patches", "block0", "block1", "logits7", "random9")
Compute = Callable[[Tensor, dict[int, Tensor]], dict[str, Tensor]]


def _trunk(model: str, precision: Any, features: Sequence[str] = NAMES) -> FrozenTrunk:
    torch.manual_seed(0)
    vit = timm.create_model(MODELS[model], **SMALL)
    with torch.no_grad():
        for parameter in vit.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return FrozenTrunk(Backbone(MODELS[model], vit), precision, features=features)


def _traced(compute: Compute) -> TracedProgram:
    inputs = {"images": torch.zeros(2, 3, 32, 32), "prompt": torch.zeros(1, 2, 3, 32)}
    function = Function("f", lambda given: compute(given["images"], {1: given["prompt"]}), inputs)
    return trace(function)


def _computed(compute: Compute) -> list[tuple[str, list[torch.Size]]]:
    """Every operator of a traced program, in order, and the shapes of what it gives."""
    nodes = [n for n in _traced(compute).program.graph.nodes if n.op == "call_function"]
    return [
        (str(node.target), [v.shape for v in pytree.tree_leaves(node.meta["val"])])
        for node in nodes
    ]


def _lowered(compute: Compute) -> Lowered:
    return lower([_traced(compute)], Backend().partitioner)


@pytest.mark.parametrize(
    ("model", "precision"), [*((model, "int8") for model in MODELS), ("class token", "fp32")]
)
def test_all_features_are_one_delegate_call(model: str, precision: Any) -> None:
    trunk = _trunk(model, precision)

    def compute(images: Tensor, prefixes: dict[int, Tensor]) -> dict[str, Tensor]:
        return dict(zip(NAMES, trunk.parts(images, prefixes, NAMES), strict=True))

    lowered = _lowered(compute)
    found = lowered.delegation["f"]
    assert found.delegate_calls == 1
    assert sum(found.arithmetic.values()) <= 8 * 2 * 3 * 32  # the prompt's keys and values, split

    images, prompt = torch.randn(2, 3, 32, 32), torch.randn(1, 2, 3, 32)
    runtime = importlib.import_module("executorch.extension.pybindings._portable_lib")
    written = lowered.serialise()  # the program does not hold its bytes
    program = runtime._load_program_from_buffer(written)
    parts = program.load_method("f").call([images, prompt])
    expected = compute(images, {1: prompt})
    for part, right in zip(parts, expected.values(), strict=True):
        assert torch.cosine_similarity(part, right).min() > 0.999


def test_joining_them_adds_no_delegate_call() -> None:
    trunk = _trunk("class token", "int8")

    def compute(images: Tensor, prefixes: dict[int, Tensor]) -> dict[str, Tensor]:
        return {"x": join_parts(NAMES, trunk.parts(images, prefixes, NAMES))}

    found = _lowered(compute).delegation["f"]
    assert found.delegate_calls == 1
    assert sum(found.arithmetic.values()) < 0.02 * found.total


@pytest.mark.parametrize("model", MODELS)
def test_the_pooled_feature_alone_costs_what_a_call_costs(model: str) -> None:
    """Whatever else the trunk could compute: the last layer drops what nothing reads."""
    plain, able = _trunk(model, "int8", ["pooled"]), _trunk(model, "int8")
    found = [
        _computed(lambda *given, f=feature: {"x": f(*given)})
        for feature in (
            plain,
            able,
            lambda *given: able.parts(*given, ["pooled"])[0],
        )
    ]
    assert found[0] == found[1] == found[2]
