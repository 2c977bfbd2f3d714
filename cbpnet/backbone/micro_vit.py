"""A vision transformer small enough to pretrain while one waits, for tests and the offline demo.

Importing this module makes `vit_micro_patch8_32` known to timm.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import trange

from cbpnet.backbone.torchvision_compat import import_timm
from cbpnet.host.errors import InputError

__all__ = ["pretrain_micro_vit", "vit_micro_patch8_32"]

timm = import_timm()

default_cfgs = timm.models.generate_default_cfgs(
    {
        "vit_micro_patch8_32": {
            "input_size": (3, 32, 32),
            "fixed_input_size": True,
            "interpolation": "bilinear",
            "crop_pct": 1.0,
            "mean": (0.5, 0.5, 0.5),
            "std": (0.5, 0.5, 0.5),
            "first_conv": "patch_embed.proj",
            "classifier": "head",
        }
    }
)

_BATCH = 32
_LEARNING_RATE = 1e-3
_WEIGHT_DECAY = 0.05
_WARM_UP = 0.1  # of the steps, before the rate falls along a cosine
_ROTATION = math.radians(15)
_SCALING = 0.15
_SHIFT = 0.15  # of half the image's width


def vit_micro_patch8_32(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ViT-Micro/8 for images of 32 by 32: width 64, 6 layers, 4 heads; timm calls this."""
    architecture = {
        "img_size": 32,
        "patch_size": 8,
        "embed_dim": 64,
        "depth": 6,
        "num_heads": 4,
        "mlp_ratio": 2,
    }
    model: nn.Module = timm.models.build_model_with_cfg(
        timm.models.VisionTransformer,
        "vit_micro_patch8_32",
        pretrained,
        pretrained_filter_fn=timm.models.vision_transformer.checkpoint_filter_fn,
        **(architecture | kwargs),
    )
    return model


timm.models.register_model(vit_micro_patch8_32)


def pretrain_micro_vit(
    images: Tensor, labels: Tensor, epochs: int = 40, seed: int = 0, progress: bool = False
) -> dict[str, Tensor]:
    """Train the micro ViT as a plain classifier and return its weights.

    Cross-entropy on randomly turned, scaled and shifted images, AdamW, cosine learning rate. The
    same arguments give the same weights on the same machine; torch's global generator is left as
    it was.

    Args:
        images: [N, 3, 32, 32] fp32, normalised to mean = std = 0.5.
        labels: [N] integers from 0 to the number of classes - 1.
        epochs: passes over the images, at least 1.
        seed: of initialisation, order and shifts.
        progress: show a progress bar, on a terminal.

    Returns:
        The state dict, classifier included, as `load_backbone` takes it from a file.

    Raises:
        InputError: there is no image or epoch, or images and labels differ in number.
    """
    if len(images) == 0 or len(images) != len(labels):
        raise InputError(
            f"pretraining needs one label for each image, not {len(labels)} for {len(images)}"
        )
    if epochs < 1:
        raise InputError(f"pretraining epochs {epochs} must be at least 1")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        # timm's default initialisation is meant for wide models; this one starts faster.
        model = timm.create_model(
            "vit_micro_patch8_32", num_classes=int(labels.max()) + 1, weight_init="jax"
        )
        optimiser = torch.optim.AdamW(
            model.parameters(), lr=_LEARNING_RATE, weight_decay=_WEIGHT_DECAY
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser,
            _LEARNING_RATE,
            epochs=epochs,
            steps_per_epoch=math.ceil(len(images) / _BATCH),
            pct_start=_WARM_UP,
        )
        # None: a bar on a terminal only.
        for _ in trange(epochs, desc="pretraining", disable=None if progress else True):
            for rows in torch.split(torch.randperm(len(images)), _BATCH):
                loss = F.cross_entropy(model(_augmented(images[rows])), labels[rows])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                schedule.step()
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def _augmented(images: Tensor) -> Tensor:
    """Turn, scale and shift each image of a batch [B, C, S, S] at random."""
    count = len(images)
    angle, scaling, right, down = (2 * torch.rand(4, count) - 1).unbind()
    angle, scale = angle * _ROTATION, 1 + scaling * _SCALING
    cosine, sine = scale * angle.cos(), scale * angle.sin()
    rows = [cosine, -sine, right * _SHIFT, sine, cosine, down * _SHIFT]
    grid = F.affine_grid(
        torch.stack(rows, dim=1).reshape(count, 2, 3), list(images.shape), align_corners=False
    )
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)
