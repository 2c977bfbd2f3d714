"""The micro ViT is known to timm, and pretrains on the offline digits."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from sklearn.datasets import load_digits
from torch import Tensor

from cbpnet.backbone.micro_vit import pretrain_micro_vit
from cbpnet.backbone.torchvision_compat import import_timm
from cbpnet.backbone.vit import load_backbone
from cbpnet.data.preprocessing import Preprocessing
from cbpnet.host.errors import InputError

timm = import_timm()


def _digits_0_to_4() -> tuple[Tensor, Tensor]:
    """[N, 3, 32, 32] in [-1, 1], [N]."""
    pixels, labels = load_digits(n_class=5, return_X_y=True)
    small = torch.tensor(pixels, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16
    images = F.interpolate(small, size=32, mode="bilinear").expand(-1, 3, -1, -1)
    return (images - 0.5) / 0.5, torch.tensor(labels)


def test_the_micro_vit_is_known_by_its_name() -> None:
    backbone = load_backbone("vit_micro_patch8_32", pretrained=False)
    assert (backbone.dim, backbone.depth, backbone.heads) == (64, 6, 4)
    assert backbone(torch.zeros(2, 3, 32, 32)).shape == (2, 64)
    assert backbone.preprocessing == Preprocessing(
        image_size=32,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        interpolation="bilinear",
        crop_pct=1.0,
    )


def test_pretraining_recognises_digits_it_has_not_seen(tmp_path: Path) -> None:
    images, labels = _digits_0_to_4()
    order = torch.randperm(len(images))
    held_out, rest = order[:200], order[200:]
    state = pretrain_micro_vit(images[rest], labels[rest], epochs=24)
    vit = timm.create_model("vit_micro_patch8_32", num_classes=5).eval()
    vit.load_state_dict(state)
    with torch.no_grad():
        accuracy = (vit(images[held_out]).argmax(1) == labels[held_out]).float().mean()
    assert accuracy > 0.97

    save_file(state, tmp_path / "micro.safetensors")
    backbone = load_backbone("vit_micro_patch8_32", tmp_path / "micro.safetensors")
    with torch.no_grad():
        scores = vit.head(backbone(images[held_out]))
        torch.testing.assert_close(scores, vit(images[held_out]), atol=1e-4, rtol=0)


def test_pretraining_repeats_itself_and_leaves_torchs_generator_alone() -> None:
    images, labels = _digits_0_to_4()
    images, labels = images[:64], labels[:64]
    before = torch.get_rng_state()
    first, again, other = (
        pretrain_micro_vit(images, labels, epochs=1, seed=seed) for seed in (3, 3, 4)
    )
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["pos_embed"], other["pos_embed"])


@pytest.mark.parametrize(
    ("images", "labels", "epochs", "reason"),
    [
        (0, 0, 1, "one label for each image, not 0 for 0"),
        (4, 3, 1, "one label for each image, not 3 for 4"),
        (4, 4, 0, "epochs 0 must be at least 1"),
    ],
)
def test_pretraining_refuses_what_cannot_be_learnt(
    images: int, labels: int, epochs: int, reason: str
) -> None:
    with pytest.raises(InputError, match=reason):
        pretrain_micro_vit(torch.zeros(images, 3, 32, 32), torch.zeros(labels).long(), epochs)
