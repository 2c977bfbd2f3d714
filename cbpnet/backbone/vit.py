"""The frozen vision transformer, with prefix keys and values per layer."""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import cbpnet.backbone.micro_vit  # noqa: F401  registers the micro ViT with timm
from cbpnet.backbone.architecture import Architecture, Linear
from cbpnet.backbone.download import create_pretrained
from cbpnet.backbone.features import compute_features
from cbpnet.backbone.fingerprint import fingerprint_weights
from cbpnet.backbone.from_file import create_from_file
from cbpnet.backbone.served import family_of
from cbpnet.backbone.torchvision_compat import import_timm
from cbpnet.data.preprocessing import Preprocessing
from cbpnet.host.errors import InputError
from cbpnet.method.feature_names import check_features, feature_number
from cbpnet.method.features import random_projection

__all__ = ["Backbone", "load_backbone"]

timm = import_timm()

_DTYPES = (torch.float32, torch.bfloat16, torch.float64)


class Backbone(nn.Module):
    """A frozen vision transformer of timm whose attention takes prefix keys and values.

    It takes the model over: the classifier is taken off, the parameters are frozen and converted
    to `dtype`, in which everything is computed.

    Attributes:
        name: timm's name of the model.
        vit: the timm model.
        family: what describes it.
        dim: width D of tokens and features.
        depth: number of layers.
        heads: attention heads a layer.
        head_dim: width of a head, `dim / heads`.
        image_size: height and width of the images in pixels.
        classifier: the model's own, weight [classes, D]; None where it has none of one linear
            layer.
        parameters_without_head: number of parameters, any classifier excluded.
        preprocessing: how images are to be resized and normalised.
        weights_fingerprint: `fingerprint_weights` before the conversion to `dtype`, so that the
            same weights have one in every precision.

    Raises:
        InputError: the architecture or the dtype cannot be served; the message says why.
    """

    vit: Any

    def __init__(self, name: str, vit: nn.Module, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.family = family_of(name, vit)
        if dtype not in _DTYPES:
            raise InputError(f"backbone dtype {dtype} must be one of {_DTYPES}")
        self.vit = vit
        self.classifier = _classifier(vit, dtype)
        self.vit.reset_classifier(0)
        self.weights_fingerprint = fingerprint_weights(self)
        self.requires_grad_(False).to(dtype).eval()

        architecture, config = self.architecture, self.vit.pretrained_cfg
        self.name = name
        self.dim = architecture.dim
        self.depth = len(architecture.layers)
        self.heads = architecture.layers[0].attention.heads
        self.head_dim = self.dim // self.heads
        self.image_size = architecture.image_size
        self.parameters_without_head = sum(p.numel() for p in self.parameters())
        self.preprocessing = Preprocessing(
            image_size=self.image_size,
            mean=tuple(config["mean"]),
            std=tuple(config["std"]),
            interpolation=config["interpolation"],
            crop_pct=config["crop_pct"],
        )

    @property
    def architecture(self) -> Architecture:
        """What the model computes, as its family describes it, with the weights as they are now."""
        return self.family.describe(self.vit)

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of weights and computation."""
        return next(self.parameters()).dtype

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode: a frozen trunk has no dropout, whatever holds it does."""
        return super().train(False)

    def forward(self, images: Tensor, prefixes: Mapping[int, Tensor] | None = None) -> Tensor:
        """Features of images, those that timm would hand to its classifier.

        Args:
            images: [B, 3, image_size, image_size], normalised as `preprocessing` says.
            prefixes: by layer, [B or 1, 2, L, D]: L prefix keys (index 0) and L prefix values
                (index 1), each D a concatenation of the heads. They stand before the layer's own
                keys and values, unprojected and unnormalised (prefix-tuning as in DualPrompt,
                arXiv:2204.04799, section 4.2). One in the first dimension serves the whole batch.

        Returns:
            [B, D] in fp32 (in fp64 where the backbone computes in it). With respect to the
            prefixes it is differentiable.

        Raises:
            InputError: a prefix is for a layer that does not exist.
        """
        return self.parts(images, prefixes, ("pooled",))[0]

    def parts(
        self, images: Tensor, prefixes: Mapping[int, Tensor] | None, names: Sequence[str]
    ) -> list[Tensor]:
        """Several features from one pass, as `cbpnet.method.feature_names` defines them.

        Images, prefixes and dtypes are those of `forward`, which gives "pooled" alone.

        Returns:
            [B, d] for each of ``names``, with the d of `feature_size`.

        Raises:
            InputError: a prefix is for a layer that does not exist, or `check_features` refuses.
        """
        self.check_features(names)
        prefixes = self._checked(prefixes)
        found = compute_features(self.architecture, images.to(self.dtype), prefixes, names)
        for name in names:
            if (layer := self.on_pooled(name)) is not None:
                found[name] = F.linear(found["pooled"], *layer)
        return [found[name].to(self._wide) for name in names]

    def with_attention(
        self, images: Tensor, prefixes: Mapping[int, Tensor]
    ) -> tuple[Tensor, dict[int, Tensor]]:
        """Features as `forward` gives them, and by layer the attention that prefix tokens receive.

        The attention is [B, heads, L], in [0, 1]: of a prefix token in a head, the mean over the
        layer's query tokens of its attention probability. Through it no gradient flows.

        Raises:
            InputError: a prefix is for a layer that does not exist.
        """
        received: dict[int, Tensor] = {}

        def watch(layer: int, weights: Tensor) -> None:
            length = prefixes[layer].shape[2]
            received[layer] = weights[..., :length].detach().to(self._wide).mean(dim=2)

        found = compute_features(
            self.architecture, images.to(self.dtype), self._checked(prefixes), (), watch
        )
        return found["pooled"].to(self._wide), received

    @property
    def _wide(self) -> torch.dtype:
        """What features are given in: fp32, or fp64 where the backbone computes in it."""
        return torch.promote_types(self.dtype, torch.float32)

    def _checked(self, prefixes: Mapping[int, Tensor] | None) -> Mapping[int, Tensor]:
        prefixes = prefixes or {}
        unknown = prefixes.keys() - range(self.depth)
        if unknown:
            raise InputError(
                f"prefix layer {min(unknown)} of {self.name} must lie in 0 to {self.depth - 1}"
            )
        return prefixes

    @property
    def logits(self) -> int:
        """The number of the classifier's logits; 0 without one."""
        return 0 if self.classifier is None else len(self.classifier.weight)

    def on_pooled(self, name: str) -> Linear | None:
        """Return the layer of a feature that is computed of the pooled one; None for others."""
        if (size := feature_number("random", name)) is not None:
            return Linear(random_projection(self.dim, size).to(self.dtype), None)
        size = feature_number("logits", name)
        if size is None or self.classifier is None:
            return None
        weight, bias = self.classifier
        return Linear(weight[:size], None if bias is None else bias[:size])

    def check_features(self, names: Sequence[str]) -> None:
        """Raise `InputError` unless the names are `check_features`'s and this backbone has all."""
        check_features(names)
        for name in names:
            if (feature_number("block", name) or 0) >= self.depth:
                raise InputError(
                    f"feature {name!r} of {self.name} must be one of block0 to "
                    f"block{self.depth - 1}"
                )
            if (wanted := feature_number("logits", name)) is None:
                continue
            if self.classifier is None:
                raise InputError(
                    f"feature {name!r} needs a pretrained classifier, and {self.name} has none of "
                    f"one linear layer; use 'random{wanted}'"
                )
            if wanted > (known := len(self.classifier.weight)):
                raise InputError(
                    f"feature {name!r} of {self.name} must have at most {known} logits, as many as "
                    "its classifier"
                )


def _classifier(vit: Any, dtype: torch.dtype) -> Linear | None:
    """Return a model's classifier where it is one linear layer; a distilled model has a pair."""
    layer = vit.get_classifier()
    if not isinstance(layer, nn.Linear):
        return None
    bias = None if layer.bias is None else layer.bias.detach().to(dtype)
    return Linear(layer.weight.detach().to(dtype), bias)


def load_backbone(
    name: str,
    weights: Path | None = None,
    image_size: int | None = None,
    dtype: torch.dtype = torch.float32,
    pretrained: bool = True,
) -> Backbone:
    """Build a frozen backbone by its timm name.

    Args:
        name: a vision transformer of timm (docs/backbones.md), with or without the tag of its
            weights, for instance "vit_tiny_patch16_224" or "vit_small_patch14_dinov2.lvd142m".
        weights: a file to load in place of timm's download: safetensors, a torch checkpoint
            (`read_weights`), or Google's .npz. Its classifier is kept where it is one linear layer,
            of any number of classes; every other weight must be there.
        image_size: height and width of the images in pixels, a multiple of the patch; the model's
            own by default. The position embedding is resampled to it as timm does.
        dtype: of weights and computation: torch.float32, torch.bfloat16 or torch.float64.
        pretrained: without `weights`, download timm's; if False, keep timm's random
            initialisation, which draws from torch's global generator, without a classifier.

    Raises:
        InputError: a name, file, size or dtype that cannot be served, or weights that cannot be
            downloaded; the message says why.
    """
    arguments = {
        "img_size": _check_buildable(name, image_size),
        "dynamic_img_size": False,
    }
    if weights is not None:
        vit = create_from_file(name, weights, arguments)
    elif pretrained:
        vit = create_pretrained(name, arguments)
    else:
        vit = timm.create_model(name, num_classes=0, **arguments)
    return Backbone(name, vit, dtype)


def _check_buildable(name: str, image_size: int | None) -> int:
    """Check name and size on a model without memory; return the image size to build for."""
    if not timm.is_model(name):
        close = difflib.get_close_matches(name, timm.list_models(), n=3)
        hint = f"; close names are {', '.join(close)}" if close else ""
        raise InputError(f"backbone {name!r} is not a model of timm {timm.__version__}{hint}")
    try:
        with torch.device("meta"):
            vit = timm.create_model(name)
    except RuntimeError as error:  # timm's answer to an unknown tag
        raise InputError(f"backbone {name!r} cannot be built: {str(error).rstrip('.')}") from error
    architecture = family_of(name, vit).describe(vit)
    size = architecture.image_size if image_size is None else image_size
    patch = architecture.embedding.patch
    if size < patch or size % patch:
        raise InputError(
            f"image size {size} for {name} must be a positive multiple of its patch, {patch}"
        )
    return size
