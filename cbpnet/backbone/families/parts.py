"""The parts that timm builds more than one family of."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cbpnet.backbone.architecture import MLP, Embedding, Linear, gelu_tanh, quick_gelu
from cbpnet.backbone.torchvision_compat import import_timm

__all__ = [
    "POOLINGS",
    "blank_patches",
    "describe_embedding",
    "describe_mlp",
    "embedding_obstacle",
    "linear",
    "mlp_obstacle",
]

layers = import_timm().layers
activations = layers.activations

POOLINGS = ("token", "avg", "avgmax", "max")  # "token" is the mean of the first token


def embedding_obstacle(embedding: Any) -> str | None:
    """Return why patches are not embedded by one square convolution, or None."""
    if type(embedding) is not layers.PatchEmbed:
        return f"its patches are embedded by {type(embedding).__name__}, not by one convolution"
    if len({*embedding.img_size}) > 1 or len({*embedding.patch_size}) > 1:
        return f"its images {embedding.img_size} or patches {embedding.patch_size} are not square"
    return None


def blank_patches(embedding: Any) -> Tensor:
    """Return one image's embedded patches, all 0, in the shape that a patch embedding gives."""
    kernel = embedding.proj.weight
    grid = [embedding.num_patches] if embedding.flatten else embedding.grid_size
    return torch.zeros(1, *grid, len(kernel), dtype=kernel.dtype, device=kernel.device)


def describe_embedding(embedding: Any, position: Tensor) -> Embedding:
    """Describe a patch embedding; ``position`` [1, N, D] is what timm makes of `blank_patches`."""
    return Embedding(embedding.proj.weight, embedding.proj.bias, embedding.norm, position)


def mlp_obstacle(mlp: nn.Module) -> str | None:
    """Return why an MLP is not two linear layers, gated or not, or None."""
    if type(mlp) not in (layers.Mlp, layers.GluMlp, layers.SwiGLU):
        return f"its MLP is a {type(mlp).__name__}, not two linear layers"
    return None


def describe_mlp(mlp: Any) -> MLP:
    """Describe an MLP; a gate is the first half of what its first layer gives."""
    gated = not isinstance(mlp, layers.Mlp)
    if isinstance(mlp, layers.SwiGLU):
        fc1 = _joined(mlp.fc1_g, mlp.fc1_x)
    else:
        fc1 = linear(mlp.fc1)
        if gated and mlp.gate_last:
            fc1 = _halves_swapped(fc1)
    return MLP(fc1, _activation(mlp.act), gated, mlp.norm, linear(mlp.fc2))


def linear(layer: nn.Linear) -> Linear:
    """Describe a linear layer."""
    return Linear(layer.weight, layer.bias)


def _joined(first: nn.Linear, second: nn.Linear) -> Linear:
    """Return two layers that read the same as one; both have a bias, or neither."""
    bias = None if first.bias is None else torch.cat([first.bias, second.bias])
    return Linear(torch.cat([first.weight, second.weight]), bias)


def _halves_swapped(layer: Linear) -> Linear:
    """Return a layer with the second half of its outputs before the first."""
    half = len(layer.weight) // 2
    bias = None if layer.bias is None else layer.bias.roll(half)
    return Linear(layer.weight.roll(half, dims=0), bias)


def _activation(module: nn.Module) -> Callable[[Tensor], Tensor]:
    """Return the function by which a description knows an activation, or the module."""
    if getattr(module, "approximate", "none") == "tanh":
        return gelu_tanh
    return _FUNCTIONS.get(type(module), module)


_FUNCTIONS: dict[type[nn.Module], Callable[[Tensor], Tensor]] = {
    nn.GELU: F.gelu,
    layers.GELU: F.gelu,
    layers.GELUTanh: gelu_tanh,
    activations.QuickGELU: quick_gelu,
    nn.SiLU: F.silu,
}
