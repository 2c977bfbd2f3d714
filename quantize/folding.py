"""Folding what stands beside a frozen linear layer into its weights, exactly."""

import torch
from torch import Tensor, nn

from cbpnet.backbone.architecture import Attention, Linear, Rotation

__all__ = [
    "after_norm",
    "centred_output",
    "query_key_value",
    "rotation_tables",
    "scaled_output",
    "split_halves",
]


def after_norm(norm: nn.Module, linear: Linear) -> Linear:
    """Return a layer with the scale and shift of the norm before it folded in.

    What a layer norm gives has mean 0, so a row's mean acts on nothing; without it, what the layer
    passes back has mean 0 too.
    """
    weight, bias = linear
    if not isinstance(norm, nn.LayerNorm):
        return linear
    if norm.elementwise_affine:
        if norm.bias is not None:
            shift = weight @ norm.bias
            bias = shift if bias is None else bias + shift
        weight = weight * norm.weight
    return Linear(weight - weight.mean(dim=1, keepdim=True), bias)


def centred_output(linear: Linear) -> Linear:
    """Return a layer whose outputs have their mean subtracted."""
    weight, bias = linear
    return Linear(weight - weight.mean(dim=0), None if bias is None else bias - bias.mean())


def scaled_output(scale: Tensor | None, linear: Linear) -> Linear:
    """Return a layer whose outputs are multiplied by ``scale`` [out]."""
    if scale is None:
        return linear
    weight, bias = linear
    return Linear(weight * scale.unsqueeze(1), None if bias is None else bias * scale)


def query_key_value(attention: Attention, norm: nn.Module, scale: float) -> Linear:
    """Return the layer that gives queries times ``scale``, keys and values, the ``norm`` folded in.

    A rotation's pairs are then the two halves of each head of queries and keys.
    """
    weight, bias = after_norm(norm, attention.qkv)
    width = len(weight) // 3
    factors = torch.ones(len(weight))
    factors[:width] = scale
    folded = scaled_output(factors, Linear(weight, bias))
    if attention.rotation is None or not attention.rotation.neighbours:
        return folded
    rows = split_halves(torch.arange(2 * width), width // attention.heads)
    order = torch.cat([rows, torch.arange(2 * width, 3 * width)])
    return Linear(folded.weight[order], None if folded.bias is None else folded.bias[order])


def split_halves(x: Tensor, width: int) -> Tensor:
    """Return x [..., n width] with the even entries of each ``width`` before its odd ones."""
    halves: Tensor = x.unflatten(-1, (-1, width // 2, 2)).transpose(-1, -2)
    return halves.flatten(-3)


def rotation_tables(rotation: Rotation) -> tuple[Tensor, Tensor]:
    """Return the tables [1 or heads, N, head_dim] of `quantize.operators.rotate`."""
    cosine, sine = rotation.cosine, rotation.sine
    if rotation.neighbours:
        width = cosine.shape[-1]
        cosine, sine = split_halves(cosine, width), split_halves(sine, width)
    first, second = sine.chunk(2, dim=-1)
    return cosine, torch.cat([-first, second], dim=-1)
