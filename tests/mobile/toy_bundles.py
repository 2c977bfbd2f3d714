"""Bundles of learners on an extractor that is no transformer: small, and quickly made."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from executorch.exir.backend.partitioner import Partitioner
from torch import Tensor

from cbpnet.backbone.presets import count_trainables
from cbpnet.data.preprocessing import Preprocessing
from cbpnet.method.config import (
    AdaptationConfig,
    BlockConfig,
    CBPConfig,
    LearnerConfig,
    PromptConfig,
    ReadoutConfig,
)
from cbpnet.method.layout import counted_axes
from cbpnet.method.learner import Learner
from cbpnet.method.one_pass import OnePassLearner
from cbpnet.method.state import LearnerState
from mobile.device.bundle import seal
from mobile.device.manifest import (
    BackboneInfo,
    Limits,
    Manifest,
    MethodInfo,
    StateTensor,
    TensorInfo,
)
from mobile.device.program_check import planned_bytes
from mobile.export.bundle_learner import bundle_functions
from mobile.export.lowering import lower
from mobile.export.tracing import trace

TOY_CONFIG = LearnerConfig(
    PromptConfig((0,), 2, (1, 3), 2),
    BlockConfig(5),
    CBPConfig(replacement_rate=0.1, maturity=3, decay=0.9),
    readout=ReadoutConfig("rls", features=7),
    adaptation=AdaptationConfig("cbpnet", epochs=5, final_rate=1.0),
)
ONE_PASS_CONFIG = LearnerConfig(
    PromptConfig((0, 2), 2, (), 1),
    readout=ReadoutConfig("whitened", priors=(0.3, 1.0), scales=(0.5, 1.0)),
    adaptation=AdaptationConfig("auto", fewest_classes=2, epochs=2),
)
TOY_SIZE = 8


class ToyExtractor:
    """Features without a transformer: some of the image's numbers, moved by every prefix entry."""

    logits = 0  # it has no classifier

    def __init__(self, dim: int) -> None:
        self.dim = dim

    def __call__(self, images: Tensor, prefixes: Mapping[int, Tensor] | None = None) -> Tensor:
        feature = images.flatten(1)[:, ::7][:, : self.dim]
        for layer, prefix in (prefixes or {}).items():
            place = torch.arange(prefix[0].numel()).view(prefix.shape[1:]).to(prefix.dtype)
            push = (prefix * torch.cos(place + layer)).sum(dim=(1, 2))
            turned = torch.cat([feature[:, -layer - 1 :], feature[:, : -layer - 1]], dim=1)
            feature = feature + torch.tanh(turned) * push
        return feature

    def parts(
        self, images: Tensor, prefixes: Mapping[int, Tensor] | None, names: Sequence[str]
    ) -> list[Tensor]:
        """The only feature is the pooled one."""
        assert tuple(names) == ("pooled",)
        return [self(images, prefixes)]


def build_toy(
    path: Path,
    learner: Learner | OnePassLearner,
    state: LearnerState,
    class_names: tuple[str, ...],
    weights: str,
) -> Path:
    """Write a bundle of a learner on a toy extractor: two images at a time, no delegate."""
    traced = [trace(function) for function in bundle_functions(learner, state, 2, TOY_SIZE)]
    lowered = lower(traced, _no_delegate)

    def described(tensors: Mapping[str, Tensor]) -> tuple[TensorInfo, ...]:
        return tuple(
            TensorInfo(name, str(value.dtype).removeprefix("torch."), tuple(value.shape))
            for name, value in tensors.items()
        )

    dim = learner.backbone.dim
    budget = count_trainables(learner.config, dim, 10**6)
    counts = counted_axes(learner.config, dim)
    program = lowered.serialise()
    manifest = Manifest(
        target="portable",
        target_options={},
        precision="fp32",
        backbone=BackboneInfo("toy", 10**6, dim, weights),
        preprocessing=Preprocessing(TOY_SIZE, (0.5,) * 3, (0.5,) * 3, "bilinear", 1.0),
        config=learner.config,
        classes=learner.classes,
        tasks=learner.tasks if isinstance(learner, Learner) else 1,
        class_names=class_names,
        micro_batch=2,
        image_size=TOY_SIZE,
        trainable_parameters=budget.trainable,
        trainable_fraction=budget.share,
        head_parameters=learner.classes * dim,
        state=tuple(
            StateTensor(name, shape, counts[name]) for name, shape in learner.layout.items()
        ),
        adaptation=(),
        methods={
            part.name: MethodInfo(
                described(part.inputs),
                described(part.outputs),
                lowered.delegation[part.name].delegate_calls,
                lowered.delegation[part.name].undelegated,
                lowered.delegation[part.name].total,
                lowered.delegation[part.name].total,
            )
            for part in traced
        },
        limits=Limits(planned_bytes(program)),
        quantisation=None,
        versions={"torch": torch.__version__},
    )
    path.write_bytes(seal(program, manifest))
    return path


def _no_delegate() -> Partitioner:
    raise AssertionError("a toy extractor has no frozen layer to delegate")


def toy_learner(dim: int = 12, classes: int = 6, tasks: int = 3) -> Learner:
    """The learner in PyTorch that the toy bundles were made of."""
    return Learner(ToyExtractor(dim), TOY_CONFIG, classes, tasks)


def toy_one_pass_learner(dim: int = 12, classes: int = 6) -> OnePassLearner:
    """The one-pass learner in PyTorch that a toy bundle was made of."""
    return OnePassLearner(ToyExtractor(dim), ONE_PASS_CONFIG, classes)
