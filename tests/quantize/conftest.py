"""What the tests of quantisation share: a micro backbone that has seen nothing, and its trunk."""

from typing import Any

import pytest
import torch

from cbpnet.backbone.torchvision_compat import import_timm
from cbpnet.backbone.vit import Backbone
from quantize.trunk import FrozenTrunk

timm = import_timm()

MICRO = "vit_micro_patch8_32"


@pytest.fixture
def backbone() -> Backbone:
    """A micro ViT of three layers of which every parameter matters."""
    vit: Any = timm.create_model(MICRO, depth=3)
    with torch.no_grad():
        for parameter in vit.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return Backbone(MICRO, vit)


@pytest.fixture
def trunk(backbone: Backbone) -> FrozenTrunk:
    """Its frozen trunk in fp32."""
    return FrozenTrunk(backbone, "fp32")
