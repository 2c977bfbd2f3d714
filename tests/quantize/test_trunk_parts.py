"""Features by name of frozen trunks in all their forms, against the backbone's in fp64."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from cbpnet.backbone.torchvision_compat import import_timm
from cbpnet.backbone.vit import Backbone
from cbpnet.host.errors import InputError
from cbpnet.method.feature_names import feature_size
from cbpnet.method.features import join_parts
from quantize.calibrated import calibrated_trunk
from quantize.half_precision import HalfPrecisionTrunk
from quantize.integer import integer_form
from quantize.static_int8 import calibrate, roundable
from quantize.trunk import FrozenTrunk
from quantize.weight_only import round_weights

timm = import_timm()

MICRO = "vit_micro_patch8_32"
SMALL = {"depth": 3, "embed_dim": 48, "num_heads": 4, "num_classes": 7}
MODELS = [
    (MICRO, {}),  # class token
    ("deit_tiny_patch16_224", {"img_size": 64}),
    ("vit_small_patch14_reg4_dinov2", {"img_size": 56}),
    ("vit_wee_patch16_reg1_gap_256", {"img_size": 64}),  # average pooling, one register
    ("vit_tiny_patch16_224", {"img_size": 64, "global_pool": "avg"}),  # no norm of the tokens
    ("vit_base_patch16_siglip_224", {"img_size": 64}),  # attention pooling
    ("vit_so150m_patch16_reg4_map_256", {"img_size": 64}),
    ("vit_small_patch16_dinov3", {"img_size": 64}),  # rotary
    ("eva02_tiny_patch14_224", {"img_size": 56}),
    ("vit_pe_core_tiny_patch16_384", {"img_size": 64}),  # rotary and pooled by attention
]
NAMES = ("pooled", "patches", "block0", "block2", "logits7", "random9")


def _model(name: str, arguments: dict[str, Any]) -> Any:
    model = timm.create_model(name, **SMALL | arguments)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def _backbone(name: str = MICRO, arguments: dict[str, Any] | None = None) -> Backbone:
    return Backbone(name, _model(name, arguments or {}))


def _images(backbone: Backbone, count: int = 2) -> Tensor:
    return torch.randn(count, 3, backbone.image_size, backbone.image_size)


@pytest.mark.parametrize(("name", "arguments"), MODELS)
@pytest.mark.parametrize("names", [NAMES, ("pooled", "block2"), ("pooled", "patches"), NAMES[:1]])
def test_parts_are_the_backbones(
    name: str, arguments: dict[str, Any], names: tuple[str, ...]
) -> None:
    model = _model(name, arguments)
    exact = Backbone(name, copy.deepcopy(model), torch.float64)
    backbone = Backbone(name, model)
    trunk = FrozenTrunk(backbone, "fp32", features=names).double()
    images = _images(backbone).double()
    prefixes = {1: torch.randn(2, 2, 3, 48, dtype=torch.float64)}
    found, expected = (each.parts(images, prefixes, names) for each in (trunk, exact))
    assert [part.shape[1] for part in found] == [feature_size(each, 48) for each in names]
    assert trunk.logits == (7 if "logits7" in names else 0)
    for feature, part, right in zip(names, found, expected, strict=True):
        # The layers are folded in fp32; all else is computed in fp64.
        torch.testing.assert_close(part, right, atol=1e-5, rtol=1e-5, msg=feature)
    assert trunk(images, prefixes).equal(trunk.parts(images, prefixes, ("pooled",))[0])


@pytest.mark.parametrize(("name", "arguments"), MODELS)
def test_gradients_are_those_of_a_trunk_without_other_features(
    name: str, arguments: dict[str, Any]
) -> None:
    backbone = _backbone(name, arguments)
    images, target = _images(backbone).double(), torch.randn(2, 48, dtype=torch.float64)
    prefix = torch.randn(1, 2, 3, 48, dtype=torch.float64, requires_grad=True)
    gradients = []
    for features in (NAMES, ("pooled",)):
        trunk = FrozenTrunk(backbone, "fp32", features=features).double()
        gradients += torch.autograd.grad((trunk(images, {1: prefix}) * target).sum(), prefix)
    torch.testing.assert_close(*gradients, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("name", "arguments"), MODELS)
def test_int8_is_close_and_not_the_same(name: str, arguments: dict[str, Any]) -> None:
    backbone = _backbone(name, arguments)
    images = _images(backbone, 4)
    exact, rounded = (
        FrozenTrunk(backbone, kind, features=NAMES).parts(images, None, NAMES)
        for kind in ("fp32", "int8")
    )
    for part, right in zip(rounded, exact, strict=True):
        assert torch.cosine_similarity(part, right).min() > 0.99
        assert not torch.allclose(part, right, atol=1e-4)


def test_the_layers_of_the_pooled_feature_are_made_where_they_are_asked_for() -> None:
    backbone = _backbone()
    plain = list(FrozenTrunk(backbone, "int8").layers)
    assert set(plain) & {"logits7", "random9"} == set()
    trunk = FrozenTrunk(backbone, "int8", ["random9"], features=NAMES)
    assert sorted(trunk.layers) == sorted([*plain, "logits7", "random9"])
    assert trunk.layers["logits7"].weight.dtype == torch.int8
    assert trunk.layers["random9"].weight.dtype == torch.float32


@pytest.mark.parametrize(("name", "arguments"), MODELS)
def test_other_forms_compute_the_same(name: str, arguments: dict[str, Any]) -> None:
    backbone = _backbone(name, arguments)
    trunk = FrozenTrunk(backbone, "fp32", features=NAMES)
    images, prefix = _images(backbone), {1: torch.randn(1, 2, 3, 48)}
    forms = {
        0.9999: [HalfPrecisionTrunk(trunk), integer_form(trunk, far=["blocks.1.fc1"])],
        0.995: [round_weights(trunk), round_weights(trunk, marked=False)],
    }
    with torch.no_grad():
        expected = trunk.parts(images, prefix, NAMES)
        for least, alike in forms.items():
            for form in alike:
                found = form.parts(images, prefix, NAMES)
                assert form.logits == 7
                for part, right in zip(found, expected, strict=True):
                    assert part.dtype == torch.float32
                    assert torch.cosine_similarity(part, right).min() > least


def test_calibration_rounds_the_new_layers_by_what_they_are_given() -> None:
    backbone = _backbone()
    trunk = FrozenTrunk(backbone, "fp32", features=NAMES)
    images = _images(backbone, 8)
    assert {"logits7", "logits7.output", "random9", "random9.output"} <= set(roundable(trunk))
    ranges = calibrate(trunk, [images])
    pooled, logits = trunk.parts(images, None, ("pooled", "logits7"))
    for name, tensor in (("logits7", pooled), ("logits7.output", logits), ("random9", pooled)):
        assert ranges[name].low == pytest.approx(tensor.min().item(), rel=1e-4)
        assert ranges[name].high == pytest.approx(tensor.max().item(), rel=1e-4)
    with torch.no_grad():
        found = calibrated_trunk(trunk, images.split(4))
    assert list(found.recipe.ranges) == roundable(trunk, layers_only=True)
    assert found.trunk.layers["random9"].weight.dtype == torch.int8
    rounded, exact = (
        join_parts(NAMES, each.parts(images, None, NAMES)) for each in (found.trunk, trunk)
    )
    assert torch.cosine_similarity(rounded, exact).min() > 0.98


def test_a_classifier_that_rounding_destroys_stays_exact() -> None:
    backbone = _backbone()
    trunk = FrozenTrunk(backbone, "fp32", features=("pooled", "logits7"))
    with torch.no_grad():
        # One entry of the pooled feature dwarfs the others, and the classifier does not read it.
        trunk.norm.bias[7] = 3000.0
        trunk.layers["logits7"].weight[:, 7] = 0.0
        trunk.layers["logits7"].weight *= 1000.0
    found = calibrated_trunk(trunk, _images(backbone, 8).split(4))
    assert "logits7" in found.recipe.keep_fp32


def test_what_was_not_asked_for_is_refused() -> None:
    backbone = _backbone()
    trunk = FrozenTrunk(backbone, "fp32", features=("pooled", "block1"))
    for form in (trunk, HalfPrecisionTrunk(trunk)):
        with pytest.raises(InputError, match=r"'patches' was not .* computes pooled, block1"):
            form.parts(_images(backbone), None, ("pooled", "patches"))
    with pytest.raises(InputError, match=r"feature 'block3' of .* block0 to block2"):
        FrozenTrunk(backbone, "fp32", features=("pooled", "block3"))
