"""A bundle of each family of backbones, small: it lowers as a plain ViT does, and learns."""

from pathlib import Path
from typing import Any

import pytest
import torch

from cbpnet.backbone.torchvision_compat import import_timm
from cbpnet.backbone.vit import Backbone
from cbpnet.host.random_streams import RandomStream
from cbpnet.method.config import BlockConfig, LearnerConfig, PromptConfig, ReadoutConfig
from cbpnet.method.initial import draw_state
from mobile.device.runtime import OnDeviceLearner
from mobile.export.exporter import ExportSettings, export_bundle
from mobile.targets import resolve_target

timm = import_timm()

SMALL = {"depth": 2, "embed_dim": 32, "num_heads": 2, "img_size": 32}
CONFIG = LearnerConfig(
    PromptConfig((0,), 2, (1,), 2), BlockConfig(5), readout=ReadoutConfig("rls", features=7)
)
MODELS = {
    "DINOv3": ("vit_small_patch16_dinov3", {}),
    "SigLIP": ("vit_base_patch16_siglip_224", {}),
    "EVA-02": ("eva02_base_patch14_224", {"img_size": 28}),  # SwiGLU, neighbours are pairs
}


@pytest.mark.parametrize(
    ("model", "precision"),
    [
        ("DINOv3", "int8"),
        pytest.param("DINOv3", "fp32", marks=pytest.mark.slow),
        ("SigLIP", "int8"),
        pytest.param("SigLIP", "fp32", marks=pytest.mark.slow),
        ("EVA-02", "int8"),
    ],
)
def test_a_family_lowers_like_a_plain_vit_and_learns(
    model: str, precision: Any, tmp_path: Path, pictures: Any
) -> None:
    name, arguments = MODELS[model]
    torch.manual_seed(0)
    vit = timm.create_model(name, **SMALL | arguments)
    with torch.no_grad():
        for parameter in vit.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    backbone = Backbone(name, vit)
    state = draw_state(CONFIG, backbone.dim, 4, 2, RandomStream(2, 0))
    settings = ExportSettings(resolve_target("xnnpack", precision), 4, 2, micro_batch=2)
    export = export_bundle(tmp_path / "small.pte", backbone, CONFIG, state, settings)
    calls = {method: part.delegate_calls for method, part in export.delegation.items()}
    assert (calls["query"], calls["predict"], calls["gradients"]) == (1, 1, 2)
    assert export.agreement.features > 0.999
    assert min(export.agreement.gradients.values()) > 0.99

    learner = OnDeviceLearner(export.path)
    for task in (("red", "green"), ("blue", "grey")):
        learner.learn({label: pictures(label, 8) for label in task}, epochs=4)
    shown = {label: pictures(label, 5, seed=1) for label in ("red", "green", "blue", "grey")}
    right = sum(
        image.label == label for label, images in shown.items() for image in learner.predict(images)
    )
    assert right >= 17
