"""Weights files of other programs: what is read all the same, and what is said of the others."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from cbpnet.backbone.torchvision_compat import import_timm
from cbpnet.backbone.vit import load_backbone
from cbpnet.host.errors import InputError

timm = import_timm()

MICRO = "vit_micro_patch8_32"


def random_vit(**arguments: Any) -> Any:
    """A timm model in which no two parameters are alike."""
    vit = timm.create_model(MICRO, **arguments).eval()
    with torch.no_grad():
        for parameter in vit.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return vit


@pytest.mark.parametrize("prefix", ["model.", "backbone.", "net.student.module."])
def test_a_prefix_before_all_names_is_left_out(tmp_path: Path, prefix: str) -> None:
    vit = random_vit(num_classes=5)
    state = {f"{prefix}{name}": value for name, value in vit.state_dict().items()}
    other = {"criterion.weight": torch.ones(5)}
    torch.save({"state_dict": state | other, "epoch": 3}, tmp_path / "lightning.ckpt")
    save_file(vit.state_dict(), tmp_path / "plain.safetensors")
    found, plain = (
        load_backbone(MICRO, tmp_path / name) for name in ("lightning.ckpt", "plain.safetensors")
    )
    assert found.weights_fingerprint == plain.weights_fingerprint
    assert found.classifier is not None
    assert found.classifier.weight.equal(vit.head.weight)


def google_names(vit: Any) -> dict[str, np.ndarray]:
    """The arrays of a model, named and turned as those of google-research/vision_transformer."""
    state = {name: value.detach().numpy() for name, value in vit.state_dict().items()}
    width, heads = vit.embed_dim, vit.blocks[0].attn.num_heads
    found = {
        "cls": state["cls_token"],
        "embedding/kernel": state["patch_embed.proj.weight"].transpose(2, 3, 1, 0),
        "embedding/bias": state["patch_embed.proj.bias"],
        "Transformer/posembed_input/pos_embedding": state["pos_embed"],
        "Transformer/encoder_norm/scale": state["norm.weight"],
        "Transformer/encoder_norm/bias": state["norm.bias"],
        "head/kernel": state["head.weight"].T,
        "head/bias": state["head.bias"],
    }
    for number in range(len(vit.blocks)):
        ours, theirs = f"blocks.{number}", f"Transformer/encoderblock_{number}"
        attention = f"{theirs}/MultiHeadDotProductAttention_1"
        for name, norm in (("LayerNorm_0", "norm1"), ("LayerNorm_2", "norm2")):
            found[f"{theirs}/{name}/scale"] = state[f"{ours}.{norm}.weight"]
            found[f"{theirs}/{name}/bias"] = state[f"{ours}.{norm}.bias"]
        for name, layer in (("Dense_0", "fc1"), ("Dense_1", "fc2")):
            found[f"{theirs}/MlpBlock_3/{name}/kernel"] = state[f"{ours}.mlp.{layer}.weight"].T
            found[f"{theirs}/MlpBlock_3/{name}/bias"] = state[f"{ours}.mlp.{layer}.bias"]
        weights = np.split(state[f"{ours}.attn.qkv.weight"], 3)
        biases = np.split(state[f"{ours}.attn.qkv.bias"], 3)
        for name, weight, bias in zip(("query", "key", "value"), weights, biases, strict=True):
            found[f"{attention}/{name}/kernel"] = weight.T.reshape(width, heads, -1)
            found[f"{attention}/{name}/bias"] = bias.reshape(heads, -1)
        out = state[f"{ours}.attn.proj.weight"]
        found[f"{attention}/out/kernel"] = out.T.reshape(heads, -1, width)
        found[f"{attention}/out/bias"] = state[f"{ours}.attn.proj.bias"]
    return found


def test_googles_archives_are_read(tmp_path: Path) -> None:
    vit = random_vit(num_classes=5)
    np.savez(tmp_path / "google.npz", **google_names(vit))
    save_file(vit.state_dict(), tmp_path / "plain.safetensors")
    found, plain = (
        load_backbone(MICRO, tmp_path / name) for name in ("google.npz", "plain.safetensors")
    )
    assert found.weights_fingerprint == plain.weights_fingerprint
    assert found.classifier is not None
    assert found.classifier.weight.equal(vit.head.weight)


@pytest.mark.parametrize("missing", ["cls", "Transformer/encoderblock_3/LayerNorm_0/scale"])
def test_another_archive_is_refused(tmp_path: Path, missing: str) -> None:
    arrays = google_names(random_vit(num_classes=5))
    del arrays[missing]
    np.savez(tmp_path / "google.npz", **arrays)
    with pytest.raises(InputError, match=f"google.npz does not fit {MICRO}: .*{missing}"):
        load_backbone(MICRO, tmp_path / "google.npz")
    np.savez(tmp_path / "other.npz", a=np.ones(3))
    with pytest.raises(InputError, match=f"other.npz does not fit {MICRO}: "):
        load_backbone(MICRO, tmp_path / "other.npz")


def test_a_distilled_model_under_a_plain_name_is_told(tmp_path: Path) -> None:
    state = random_vit().state_dict() | {"dist_token": torch.ones(1, 1, 64)}
    save_file(state, tmp_path / "deit.safetensors")
    with pytest.raises(InputError, match=f"{MICRO}: it is of a distilled model, with a dist_token"):
        load_backbone(MICRO, tmp_path / "deit.safetensors")


def test_long_lists_of_names_do_not_hide_the_cause(tmp_path: Path) -> None:
    state = {
        re.sub(r"^blocks\.(\d)", r"layers.\1.block", name): value
        for name, value in random_vit().state_dict().items()
    }
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(InputError) as refusal:
        load_backbone(MICRO, tmp_path / "w.safetensors")
    missing, unexpected = str(refusal.value).split("Unexpected key(s) in state_dict: ")
    assert re.search(r'Missing key\(s\) in state_dict: ("blocks[^"]+",? ){3}and \d+ more', missing)
    assert re.match(r'("layers[^"]+",? ){3}and \d+ more', unexpected)
