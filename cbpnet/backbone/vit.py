"""The frozen vision transformer, with prefix keys and values per layer."""

import difflib
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

import cbpnet.backbone.micro_vit  # noqa: F401  registers the micro ViT with timm
from cbpnet.backbone.fingerprint import fingerprint_weights
from cbpnet.backbone.torchvision_compat import import_timm
from cbpnet.backbone.weights import read_weights
from cbpnet.data.preprocessing import Preprocessing
from cbpnet.host.errors import InputError

__all__ = ["Backbone", "load_backbone"]

timm = import_timm()

_DTYPES = (torch.float32, torch.bfloat16, torch.float64)
_POOLINGS = ("token", "avg", "avgmax", "max")
_CLASSIFIERS = ("head.", "head_dist.")


class Backbone(nn.Module):
    """A frozen timm VisionTransformer whose attention takes prefix keys and values.

    It takes the model over: the classifier is dropped, the parameters are frozen and converted to
    `dtype`, in which everything is computed.

    Attributes:
        name: timm's name of the model.
        vit: the timm model.
        dim: width D of tokens and features.
        depth: number of layers.
        heads: attention heads a layer.
        head_dim: width of a head, `dim / heads`.
        image_size: height and width of the images in pixels.
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
        _check_plain(name, vit)
        if dtype not in _DTYPES:
            raise InputError(f"backbone dtype {dtype} must be one of {_DTYPES}")
        self.vit = vit
        self.vit.reset_classifier(0)
        self.weights_fingerprint = fingerprint_weights(self)
        self.requires_grad_(False).to(dtype).eval()

        attention = self.vit.blocks[0].attn
        config = self.vit.pretrained_cfg
        self.name = name
        self.dim: int = self.vit.embed_dim
        self.depth = len(self.vit.blocks)
        self.heads: int = attention.num_heads
        self.head_dim: int = attention.head_dim
        self.image_size: int = self.vit.patch_embed.img_size[0]
        self.parameters_without_head = sum(p.numel() for p in self.parameters())
        self.preprocessing = Preprocessing(
            image_size=self.image_size,
            mean=tuple(config["mean"]),
            std=tuple(config["std"]),
            interpolation=config["interpolation"],
            crop_pct=config["crop_pct"],
        )

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
        prefixes = prefixes or {}
        unknown = prefixes.keys() - range(self.depth)
        if unknown:
            raise InputError(
                f"prefix layer {min(unknown)} of {self.name} must lie in 0 to {self.depth - 1}"
            )
        tokens = self.vit.patch_embed(images.to(self.dtype))
        tokens = self.vit.norm_pre(self.vit._pos_embed(tokens))
        for layer, block in enumerate(self.vit.blocks):
            attended = _attend(block.attn, block.norm1(tokens), prefixes.get(layer))
            tokens = tokens + block.ls1(attended)
            tokens = tokens + block.ls2(block.mlp(block.norm2(tokens)))
        features: Tensor = self.vit.forward_head(self.vit.norm(tokens), pre_logits=True)
        return features.to(torch.promote_types(features.dtype, torch.float32))


def _attend(attention: Any, tokens: Tensor, prefix: Tensor | None) -> Tensor:
    """timm's attention on tokens [B, N, D], with a prefix [B or 1, 2, L, D].

    It is written out, because the fused kernel is slower on CPU where gradients are needed and
    cannot be lowered to every target.
    """
    batch, length, dim = tokens.shape
    heads, head_dim = attention.num_heads, attention.head_dim
    qkv = attention.qkv(tokens).reshape(batch, length, 3, heads, head_dim)
    query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # each [B, heads, N, head_dim]
    query, key = attention.q_norm(query), attention.k_norm(key)
    if prefix is not None:
        # [B, 2, L, D] -> two of [B, heads, L, head_dim]. DualPrompt's public code reshapes across
        # these axes where it must permute, and then mixes keys with values.
        split = prefix.to(tokens.dtype).reshape(*prefix.shape[:-1], heads, head_dim).transpose(2, 3)
        prefix_key, prefix_value = split.expand(batch, -1, -1, -1, -1).unbind(1)
        key = torch.cat([prefix_key, key], dim=2)
        value = torch.cat([prefix_value, value], dim=2)
    weights = (query * attention.scale @ key.transpose(-2, -1)).softmax(dim=-1)
    mixed = (weights @ value).transpose(1, 2).reshape(batch, length, dim)
    projected: Tensor = attention.proj(attention.norm(mixed))
    return projected


def load_backbone(
    name: str,
    weights: Path | None = None,
    image_size: int | None = None,
    dtype: torch.dtype = torch.float32,
    pretrained: bool = True,
) -> Backbone:
    """Build a frozen backbone by its timm name.

    Args:
        name: a plain vision transformer of timm, with or without the tag of its weights, for
            instance "vit_tiny_patch16_224" or "vit_small_patch14_dinov2.lvd142m".
        weights: a safetensors file or torch checkpoint (`read_weights`) to load in place of timm's
            download. A classifier in it is ignored; every other weight must be there.
        image_size: height and width of the images in pixels, a multiple of the patch; the model's
            own by default. The position embedding is resampled to it as timm does.
        dtype: of weights and computation: torch.float32, torch.bfloat16 or torch.float64.
        pretrained: without `weights`, download timm's; if False, keep timm's random
            initialisation, which draws from torch's global generator.

    Raises:
        InputError: a name, file, size or dtype that cannot be served, or weights that cannot be
            downloaded; the message says why.
    """
    arguments = {
        "img_size": _check_buildable(name, image_size),
        "num_classes": 0,
        "dynamic_img_size": False,
    }
    if weights is not None:
        vit = _create_with_file(name, weights, arguments)
    elif pretrained:
        vit = _create_with_download(name, arguments)
    else:
        vit = timm.create_model(name, **arguments)
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
    _check_plain(name, vit)
    size: int = vit.patch_embed.img_size[0] if image_size is None else image_size
    patch = vit.patch_embed.patch_size[0]
    if size < patch or size % patch:
        raise InputError(
            f"image size {size} for {name} must be a positive multiple of its patch, {patch}"
        )
    return size


def _check_plain(name: str, vit: Any) -> None:
    """Raise an InputError with the reason if this is not a ViT that the forward pass describes."""
    reason = _obstacle(vit)
    if reason is not None:
        raise InputError(f"backbone {name!r} cannot be served: {reason}")


def _obstacle(vit: Any) -> str | None:
    family = (timm.models.VisionTransformer, timm.models.deit.VisionTransformerDistilled)
    if type(vit) not in family:
        return f"it is a {type(vit).__name__}, not a plain VisionTransformer"
    embedding = vit.patch_embed
    if type(embedding) is not timm.layers.PatchEmbed:
        return f"its patches are embedded by {type(embedding).__name__}, not by one convolution"
    if len({*embedding.img_size}) > 1 or len({*embedding.patch_size}) > 1:
        return f"its images {embedding.img_size} or patches {embedding.patch_size} are not square"
    if vit.global_pool not in _POOLINGS:
        return f"its pooling {vit.global_pool!r} is none of {', '.join(_POOLINGS)}"
    for block in vit.blocks:
        if type(block) is not timm.models.vision_transformer.Block:
            return f"its layers are {type(block).__name__}, not the plain Block"
        if type(block.attn) is not timm.layers.Attention:
            return f"its attention is {type(block.attn).__name__}, not the plain Attention"
        if block.attn.gate is not None:
            return "its attention is gated"
    return None


def _create_with_file(name: str, weights: Path, arguments: dict[str, Any]) -> Any:
    state = {
        key: value
        for key, value in read_weights(weights).items()
        if not key.startswith(_CLASSIFIERS)
    }
    # With the same number of classes on both sides timm's loading is strict.
    source = {"state_dict": state, "num_classes": 0}
    try:
        vit = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=source, **arguments)
    except Exception as error:  # timm's conversion of a foreign file may fail anywhere
        reason = textwrap.shorten(str(error), 300, placeholder=" ...")
        raise InputError(f"weights file {weights} does not fit {name}: {reason}") from error
    del vit.pretrained_cfg["state_dict"]  # or the file's tensors would live as long as the model
    return vit


def _create_with_download(name: str, arguments: dict[str, Any]) -> Any:
    try:
        return timm.create_model(name, pretrained=True, **arguments)
    except Exception as error:  # each way to fetch a file has exceptions of its own
        raise InputError(
            f"pretrained weights of {name} cannot be downloaded "
            f"({type(error).__name__}); pass a weights file for it"
        ) from error
