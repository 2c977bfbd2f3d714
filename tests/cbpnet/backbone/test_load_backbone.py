"""Loading a backbone by name: sizes, weight files, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from cbpnet.backbone.torchvision_compat import import_timm
from cbpnet.backbone.vit import Backbone, load_backbone
from cbpnet.host.errors import InputError

timm = import_timm()

MICRO = "vit_micro_patch8_32"


def _random_vit(name: str, **arguments: Any) -> Any:
    """A timm model of which every parameter matters: layer scales are not near 0, tokens differ."""
    vit = timm.create_model(name, **arguments).eval()
    with torch.no_grad():
        for parameter in vit.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return vit


def _timm_features(vit: Any, images: Tensor) -> Tensor:
    with torch.no_grad():
        features: Tensor = vit.forward_head(vit.forward_features(images), pre_logits=True)
    return features


def _images(count: int, size: int = 32, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(count, 3, size, size, dtype=dtype)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        (MICRO, 32),  # its own size
        (MICRO, 64),
        ("deit_tiny_distilled_patch16_224", 96),  # two tokens besides the patches
        ("vit_tiny_patch16_dinov3_qkvb", 96),  # angles alone
        ("eva02_tiny_patch14_224", 112),  # and positions
        ("flexivit_small", 96),  # timm resamples it bilinearly, others bicubically
    ],
)
def test_position_embedding_is_resampled_as_timm_does(name: str, size: int, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file(_random_vit(name).state_dict(), path)
    reference = timm.create_model(
        name, pretrained=True, pretrained_cfg_overlay={"file": str(path)}, img_size=size
    ).eval()
    backbone = load_backbone(name, path, image_size=size)
    images = _images(1, size)
    assert backbone.image_size == size
    expected = _timm_features(reference, images)
    torch.testing.assert_close(backbone(images), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [0, -8, 36, 4])
def test_a_size_that_is_no_multiple_of_the_patch_is_refused(size: int) -> None:
    with pytest.raises(InputError, match=f"image size {size} for {MICRO} must be .* patch, 8"):
        load_backbone(MICRO, image_size=size, pretrained=False)


def test_a_dtype_without_support_is_refused() -> None:
    with pytest.raises(InputError, match=r"backbone dtype torch\.float16 must be one of"):
        load_backbone(MICRO, dtype=torch.float16, pretrained=False)


def test_random_weights_follow_the_callers_seed() -> None:
    images = _images(1)
    features = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        features.append(load_backbone(MICRO, pretrained=False)(images))
    assert torch.equal(features[0], features[1])
    assert not torch.allclose(features[0], features[2], atol=1e-3)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("classes", [0, 5, 1000])
def test_a_weights_file_may_have_any_head(suffix: str, classes: int, tmp_path: Path) -> None:
    vit = _random_vit(MICRO, num_classes=classes)
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save({"model": vit.state_dict()}, path)
    else:
        save_file(vit.state_dict(), path)
    backbone = load_backbone(MICRO, path)
    images = _images(2)
    torch.testing.assert_close(backbone(images), _timm_features(vit, images), atol=1e-5, rtol=0)
    held = str(backbone.vit.pretrained_cfg)
    assert "tensor" not in held, "the file's tensors are kept a second time"
    if classes:
        assert backbone.classifier is not None
        assert backbone.classifier.weight.equal(vit.head.weight)
        assert backbone.classifier.bias is not None
        assert backbone.classifier.bias.equal(vit.head.bias)
    else:
        assert backbone.classifier is None


def _without_bias(state: dict[str, Tensor]) -> None:
    del state["head.bias"]


def _distilled(state: dict[str, Tensor]) -> None:
    state["head_dist.weight"] = state["head.weight"]


def _hidden_layer(state: dict[str, Tensor]) -> None:
    state["head.fc1.weight"] = torch.ones(9, 64)


@pytest.mark.parametrize("change", [_without_bias, _distilled, _hidden_layer])
def test_a_head_that_is_not_one_linear_layer_is_left_out(change: Any, tmp_path: Path) -> None:
    vit = _random_vit(MICRO, num_classes=5)
    state = {name: value.clone() for name, value in vit.state_dict().items()}
    change(state)
    save_file({name: value.clone() for name, value in state.items()}, tmp_path / "a.safetensors")
    save_file(vit.state_dict(), tmp_path / "b.safetensors")
    other, plain = (load_backbone(MICRO, tmp_path / f"{name}.safetensors") for name in "ab")
    assert other.classifier is None
    assert plain.classifier is not None
    assert other.weights_fingerprint == plain.weights_fingerprint


def _without(state: dict[str, Tensor]) -> None:
    del state["blocks.3.mlp.fc1.bias"]


def _with_more(state: dict[str, Tensor]) -> None:
    state["blocks.6.norm1.weight"] = torch.ones(64)


def _misshapen(state: dict[str, Tensor]) -> None:
    state["norm.weight"] = torch.ones(65)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_without, r'Missing key\(s\) in state_dict: "blocks\.3\.mlp\.fc1\.bias"'),
        (_with_more, r'Unexpected key\(s\) in state_dict: "blocks\.6\.norm1\.weight"'),
        (_misshapen, r"size mismatch for norm\.weight"),
    ],
)
def test_weights_that_do_not_fit_are_refused(change: Any, reason: str, tmp_path: Path) -> None:
    state = timm.create_model(MICRO).state_dict()
    change(state)
    path = tmp_path / "weights.safetensors"
    save_file(state, path)
    with pytest.raises(InputError, match=reason) as caught:
        load_backbone(MICRO, path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_another_models_weights_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file(timm.create_model("resnet18").state_dict(), path)
    with pytest.raises(InputError, match=f"does not fit {MICRO}") as caught:
        load_backbone(MICRO, path)
    assert len(str(caught.value)) < 600


def test_without_a_download_the_weights_file_is_named_as_the_way_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", "/nonexistent")
    with pytest.raises(InputError, match=r"of vit_tiny_patch16_224 cannot .* pass a weights file"):
        load_backbone("vit_tiny_patch16_224")
    with pytest.raises(InputError, match=f"of {MICRO} cannot .* pass a weights file"):
        load_backbone(MICRO)  # for which nothing is published


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("vit_tiny_patch16_225", "close names are .*vit_tiny_patch16_224"),
        ("xyzzy", "is not a model of timm [0-9.]+$"),
        ("vit_tiny_patch16_224.xyzzy", "Invalid pretrained tag"),
        ("resnet18", "it is a ResNet"),
        ("swin_tiny_patch4_window7_224", "it is a SwinTransformer"),
        ("beit_base_patch16_224", "it is a Beit"),
        ("vit_relpos_small_patch16_224", "it is a VisionTransformerRelPos"),
        ("vit_tiny_r_s16_p8_224", "embedded by HybridEmbed"),
        ("vit_small_patch16_18x2_224", "its layers are ParallelThingsBlock"),
        ("vit_base_patch16_rpn_224", "its layers are ResPostBlock"),
        ("vit_dlittle_patch16_reg1_gap_256", "its attention is DiffAttention"),
    ],
)
def test_an_architecture_out_of_reach_is_refused_by_name(name: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason) as caught:
        load_backbone(name, pretrained=False)
    assert name in str(caught.value)


def test_gated_attention_is_refused() -> None:
    vit = timm.create_model(MICRO)
    vit.blocks[4].attn.gate = nn.Linear(64, 64)
    with pytest.raises(InputError, match="its attention is gated"):
        Backbone(MICRO, vit)


def test_images_that_are_not_square_are_refused() -> None:
    with pytest.raises(InputError, match=r"its images \(32, 64\) or patches .* are not square"):
        Backbone(MICRO, timm.create_model(MICRO, img_size=(32, 64)))
