"""Frozen trunks of families with rotary embeddings, SwiGLU and attention pooling."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from cbpnet.backbone.torchvision_compat import import_timm
from cbpnet.backbone.vit import Backbone
from quantize.calibrated import calibrated_trunk
from quantize.half_precision import HalfPrecisionTrunk
from quantize.integer import integer_form
from quantize.trunk import FrozenTrunk

timm = import_timm()

SMALL = {"depth": 2, "embed_dim": 48, "num_heads": 4, "img_size": 64, "num_classes": 5}
MODELS = [
    ("vit_small_patch16_dinov3", {}),  # pairs are halves
    ("vit_small_patch16_rope_224", {}),  # pairs are neighbours
    ("vit_small_patch16_rope_mixed_224", {"embed_dim": 96}),  # each head has its own angles
    ("eva_giant_patch14_224", {"img_size": 56}),  # nothing rotates
    ("eva02_tiny_patch14_224", {"img_size": 56}),  # SwiGLU
    ("eva02_base_patch16_clip_224", {}),  # and norms in the middle
    ("vit_pe_core_tiny_patch16_384", {}),  # attention pooling of a rotary model
    ("vit_pe_spatial_tiny_patch16_512", {}),  # no norm at the end
    ("vit_base_patch16_siglip_224", {}),  # attention pooling
    ("vit_so150m_patch16_reg4_map_256", {}),  # not of the registers
]


def _backbone(name: str, arguments: dict[str, Any]) -> Backbone:
    model = timm.create_model(name, **SMALL | arguments)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return Backbone(name, model)


def _prefixes(backbone: Backbone, dtype: torch.dtype) -> dict[int, Tensor]:
    shapes = {0: (1, 2, 5, backbone.dim), 1: (2, 2, 3, backbone.dim)}
    return {
        layer: torch.randn(shape, dtype=dtype, requires_grad=True)
        for layer, shape in shapes.items()
    }


def _compare(backbone: Backbone) -> None:
    trunk = FrozenTrunk(backbone, "fp32").double()
    exact = Backbone(backbone.name, copy.deepcopy(backbone.vit), torch.float64)
    images = torch.randn(2, 3, backbone.image_size, backbone.image_size, dtype=torch.float64)
    prefixes = _prefixes(backbone, torch.float64)
    target = torch.randn(2, backbone.dim, dtype=torch.float64)
    features, expected = trunk(images, prefixes), exact(images, prefixes)
    torch.testing.assert_close(features, expected, atol=1e-5, rtol=1e-5)
    found, wanted = (
        torch.autograd.grad((output * target).sum(), list(prefixes.values()))
        for output in (features, expected)
    )
    for gradient, right in zip(found, wanted, strict=True):
        bound = 1e-5 * right.abs().max().item()
        torch.testing.assert_close(gradient, right, atol=bound, rtol=1e-5)


@pytest.mark.parametrize(("name", "arguments"), MODELS)
def test_features_and_prefix_gradients_are_the_backbones(
    name: str, arguments: dict[str, Any]
) -> None:
    _compare(_backbone(name, arguments))


def test_neighbours_are_paired_past_a_norm_of_queries_and_keys() -> None:
    _compare(_backbone("vit_small_patch16_rope_224", {"qk_norm": True}))


@pytest.mark.parametrize(("name", "arguments"), MODELS)
def test_int8_is_close_and_so_are_its_gradients(name: str, arguments: dict[str, Any]) -> None:
    backbone = _backbone(name, arguments)
    images = torch.randn(2, 3, backbone.image_size, backbone.image_size)
    prefixes = _prefixes(backbone, torch.float32)
    target = torch.randn(2, backbone.dim)
    exact, rounded = (FrozenTrunk(backbone, kind)(images, prefixes) for kind in ("fp32", "int8"))
    assert torch.cosine_similarity(exact, rounded).min() > 0.99
    right, found = (
        torch.autograd.grad((output * target).sum(), list(prefixes.values()))
        for output in (exact, rounded)
    )
    for ours, wanted in zip(found, right, strict=True):
        assert torch.cosine_similarity(ours.flatten(), wanted.flatten(), dim=0) > 0.97


@pytest.mark.parametrize(("name", "arguments"), MODELS)
def test_other_operators_compute_the_same(name: str, arguments: dict[str, Any]) -> None:
    backbone = _backbone(name, arguments)
    trunk = FrozenTrunk(backbone, "fp32")
    images = torch.randn(2, 3, backbone.image_size, backbone.image_size)
    prefixes = {layer: p.detach() for layer, p in _prefixes(backbone, torch.float32).items()}
    with torch.no_grad():
        expected = trunk(images, prefixes)
        halves = HalfPrecisionTrunk(trunk)(images, prefixes)
        whole = integer_form(trunk, far=["blocks.1.fc1"])(images, prefixes)
    torch.testing.assert_close(halves, expected, atol=0.05, rtol=0.02)
    torch.testing.assert_close(whole, expected, atol=1e-3, rtol=1e-3)


def test_the_pools_layers_are_named_and_may_be_kept() -> None:
    backbone = _backbone("vit_base_patch16_siglip_224", {})
    names = ["pool.key_value", "pool.proj", "pool.fc1", "pool.fc2"]
    trunk = FrozenTrunk(backbone, "int8", names)
    assert list(trunk.layers)[-4:] == names
    for name in names:
        assert trunk.get_submodule(name) is trunk.layers[name]
        assert trunk.layers[name].scale is None


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("vit_base_patch16_siglip_224", {}), ("eva02_tiny_patch14_224", {"img_size": 56})],
)
def test_static_int8_rounds_and_smooths_all_layers(name: str, arguments: dict[str, Any]) -> None:
    backbone = _backbone(name, arguments)
    trunk = FrozenTrunk(backbone, "fp32")
    images = torch.randn(4, 3, backbone.image_size, backbone.image_size)
    found = calibrated_trunk(trunk, [images], target=0.98)
    assert found.recipe.ranges.keys() == trunk.layers.keys()
    torch.testing.assert_close(found.smoothed(images), trunk(images), atol=1e-4, rtol=1e-3)
    assert torch.cosine_similarity(found.trunk(images), trunk(images)).mean() > 0.97
