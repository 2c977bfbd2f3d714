"""Features by name against timm's own forward pass, watched by hooks, in double precision."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from cbpnet.backbone.torchvision_compat import import_timm
from cbpnet.backbone.vit import Backbone, load_backbone
from cbpnet.host.errors import InputError
from cbpnet.method.features import random_projection

timm = import_timm()

MICRO = "vit_micro_patch8_32"
SMALL = {"depth": 3, "embed_dim": 48, "num_heads": 4, "num_classes": 7}
MODELS = [
    (MICRO, {}),  # class token
    ("vit_small_patch14_reg4_dinov2", {"img_size": 56}),  # and registers
    ("vit_wee_patch16_reg1_gap_256", {"img_size": 64}),  # average pooling, one register
    ("vit_tiny_patch16_224", {"img_size": 64, "global_pool": "avg"}),  # no norm of the tokens
    ("vit_base_patch16_siglip_224", {"img_size": 64}),  # attention pooling
    ("vit_so150m_patch16_reg4_map_256", {"img_size": 64}),
    ("vit_small_patch16_dinov3", {"img_size": 64}),  # rotary
    ("vit_small_patch16_rope_224", {"img_size": 64}),
    ("eva02_tiny_patch14_224", {"img_size": 56}),
    ("vit_pe_core_tiny_patch16_384", {"img_size": 64}),  # rotary and pooled by attention
]
NAMES = ["pooled", "patches", "block0", "block2", "logits7", "random1000"]


def _random_model(name: str, **arguments: Any) -> Any:
    """A small timm model in double precision of which every parameter matters."""
    model = timm.create_model(name, **SMALL | arguments).eval().double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def _watched(model: Any, images: Tensor) -> dict[str, Tensor]:
    """Features of timm's model, from what its modules gave on the way to its logits."""
    seen: dict[str, Tensor] = {}

    def watch(name: str, module: Any) -> None:
        module.register_forward_hook(lambda _, __, output: seen.update({name: output}))

    model = copy.deepcopy(model)
    watch("norm", model.norm)
    for index, block in enumerate(model.blocks):
        watch(f"block{index}", block)
    with torch.no_grad():
        logits = model(images)
        pooled = model.forward_head(model.forward_features(images), pre_logits=True)
    patches = {name: tokens[:, model.num_prefix_tokens :].mean(1) for name, tokens in seen.items()}
    found = {"pooled": pooled, "patches": patches.pop("norm"), "logits7": logits}
    for name, mean in patches.items():
        centred = mean - mean.mean(dim=1, keepdim=True)
        found[name] = centred / (centred.square().mean(dim=1, keepdim=True) + 1e-6).sqrt()
    found["random1000"] = pooled @ random_projection(pooled.shape[1], 1000).double().T
    return found


@pytest.mark.parametrize(("name", "arguments"), MODELS)
def test_every_feature_is_timms(name: str, arguments: dict[str, Any]) -> None:
    model = _random_model(name, **arguments)
    images = torch.randn(2, 3, *model.patch_embed.img_size, dtype=torch.float64)
    expected = _watched(model, images)
    backbone = Backbone(name, model, torch.float64)
    found = backbone.parts(images, None, NAMES)
    assert [part.shape[1] for part in found] == [48] * 4 + [7, 1000]
    for feature, part in zip(NAMES, found, strict=True):
        # What is left of a difference are rotations, whose angles are in fp32.
        torch.testing.assert_close(part, expected[feature], atol=1e-5, rtol=1e-5, msg=feature)


@pytest.mark.parametrize("name", [MICRO, "vit_small_patch14_reg4_dinov2"])
def test_patches_are_no_class_or_register_tokens(name: str) -> None:
    """What the last layer adds to the tokens in front moves the pooled feature alone."""
    model = _random_model(name, **({} if name == MICRO else {"img_size": 56}))
    backbone = Backbone(name, model, torch.float64)
    images = torch.randn(2, 3, backbone.image_size, backbone.image_size, dtype=torch.float64)
    names = ["pooled", "patches", "block2"]
    before = backbone.parts(images, None, names)
    plain_norm, front = backbone.vit.norm, model.num_prefix_tokens

    class Moved(torch.nn.Module):
        def forward(self, tokens: Tensor) -> Tensor:
            return plain_norm(
                torch.cat(
                    [tokens[:, :front] + 9 * tokens[:, :front].roll(1, 2), tokens[:, front:]], dim=1
                )
            )

    backbone.vit.norm = Moved()
    pooled, *patches = backbone.parts(images, None, names)
    assert not torch.allclose(pooled, before[0], atol=1e-2)
    for part, right in zip(patches, before[1:], strict=True):
        assert part.equal(right)


def test_several_features_are_those_of_one_prompted_pass() -> None:
    """The pooled one is what a call gives, and prefixes move each feature behind their layer."""
    backbone = Backbone(MICRO, _random_model(MICRO), torch.float64)
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    prefix = {1: torch.randn(1, 2, 5, 48, dtype=torch.float64)}
    found = dict(zip(NAMES, backbone.parts(images, prefix, NAMES), strict=True))
    plain = dict(zip(NAMES, backbone.parts(images, None, NAMES), strict=True))
    assert found["pooled"].equal(backbone(images, prefix))
    for name in NAMES:
        assert torch.allclose(found[name], plain[name], atol=1e-3) == (name == "block0")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_parts_are_in_fp32_and_near_double_precision(dtype: torch.dtype) -> None:
    model = _random_model(MICRO)
    images = torch.randn(4, 3, 32, 32, dtype=torch.float64)
    expected = _watched(model, images)
    parts = Backbone(MICRO, model, dtype).parts(images.float(), None, NAMES)
    least = 0.999 if dtype == torch.bfloat16 else 1 - 1e-6
    for name, part in zip(NAMES, parts, strict=True):
        assert part.dtype == torch.float32
        assert torch.cosine_similarity(part.double(), expected[name]).min() > least


def test_the_real_classifiers_logits_are_timms(vit_tiny_weights: Path) -> None:
    backbone = load_backbone("vit_tiny_patch16_224", vit_tiny_weights)
    vit = timm.create_model("vit_tiny_patch16_224").eval()
    vit.load_state_dict(load_file(vit_tiny_weights), strict=True)
    images = torch.nn.functional.interpolate(torch.rand(2, 3, 7, 7), 224, mode="bicubic") * 2 - 1
    with torch.no_grad():
        expected = vit(images)
    (_, logits) = backbone.parts(images, None, ["pooled", "logits1000"])
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=1e-4)
    assert logits.argmax(1).equal(expected.argmax(1))
    assert backbone.parameters_without_head == 5_524_416


def test_the_classifier_is_no_part_of_the_trunk() -> None:
    with_one = Backbone(MICRO, _random_model(MICRO).float())
    without = _random_model(MICRO)
    without.load_state_dict(with_one.vit.state_dict(), strict=False)
    without.reset_classifier(0)
    bare = Backbone(MICRO, without.float())
    assert bare.classifier is None
    assert with_one.classifier is not None
    assert with_one.classifier.weight.shape == (7, 48)
    assert with_one.weights_fingerprint == bare.weights_fingerprint
    assert with_one.parameters_without_head == bare.parameters_without_head
    assert with_one.state_dict().keys() == bare.state_dict().keys()


def test_a_distilled_models_pair_of_classifiers_is_none() -> None:
    name = "deit_tiny_distilled_patch16_224"
    backbone = Backbone(name, _random_model(name, img_size=64).float())
    assert backbone.classifier is None
    with pytest.raises(
        InputError,
        match=f"feature 'logits7' needs a pretrained classifier, and {name} has none .* 'random7'",
    ):
        backbone.check_features(["pooled", "logits7"])


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["pooled", "block3"], f"feature 'block3' of {MICRO} must be one of block0 to block2"),
        (["pooled", "tokens"], "feature 'tokens' does not exist"),
        (["pooled", "logits8"], f"feature 'logits8' of {MICRO} must have at most 7 logits"),
        (["patches"], "the first must be pooled"),
    ],
)
def test_features_that_a_backbone_does_not_have_are_refused(names: list[str], reason: str) -> None:
    backbone = Backbone(MICRO, _random_model(MICRO).float())
    for ask in (
        backbone.check_features,
        lambda n: backbone.parts(torch.zeros(1, 3, 32, 32), None, n),
    ):
        with pytest.raises(InputError, match=reason):
            ask(names)
