"""Frozen layers against numpy: weights rounded for each channel, activations for each token."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from quantize.frozen_linear import (
    FrozenLinear,
    Precision,
    dequantise_tokens,
    quantise_tokens,
    quantise_weight,
)

Array = NDArray[np.float64]


def _rounded_weight(weight: Array) -> Array:
    """A weight [out, in] as its int8 values mean it, row by row."""
    rows = []
    for row in weight:
        scale = max(abs(float(value)) for value in row) / 127
        rows.append([scale * round(float(value) / scale) if scale else 0.0 for value in row])
    return np.array(rows)


def _rounded_tokens(x: Array) -> Array:
    """Vectors [N, D] as their int8 values mean them: 256 steps from least to largest, 0 exact."""
    rows = []
    for row in x:
        low, high = min(0.0, row.min()), max(0.0, row.max())
        scale = (high - low) / 255
        if not scale:
            rows.append(np.zeros_like(row))
            continue
        zero = -128 - round(low / scale)
        steps = np.clip(np.round(row / scale) + zero, -128, 127)
        rows.append((steps - zero) * scale)
    return np.array(rows)


def _close(found: Tensor, expected: Array, rtol: float = 1e-5) -> None:
    exact = torch.from_numpy(expected)
    bound = rtol * exact.abs().max().item()
    torch.testing.assert_close(found.double(), exact, atol=bound, rtol=rtol)


@pytest.mark.parametrize("with_bias", [True, False])
def test_int8_is_numpys_in_both_directions(with_bias: bool) -> None:
    weight = torch.randn(7, 12) * torch.logspace(-2, 2, 7).unsqueeze(1)
    bias = torch.randn(7) if with_bias else None
    layer = FrozenLinear(weight, bias, "int8")
    x = (torch.randn(5, 12) * torch.logspace(-3, 3, 5).unsqueeze(1)).requires_grad_()
    gradient = torch.randn(5, 7) * torch.logspace(-12, 0, 5).unsqueeze(1)
    output = layer(x)
    (found,) = torch.autograd.grad(output, x, gradient)

    full = weight.double().numpy()
    expected = _rounded_tokens(x.detach().double().numpy()) @ _rounded_weight(full).T
    if bias is not None:
        expected = expected + bias.double().numpy()
    # Backwards the same int8 values; their scales are in the gradient, before it is rounded.
    scale = np.abs(full).max(axis=1) / 127
    steps = _rounded_weight(full) / scale[:, None]
    backward = _rounded_tokens(gradient.double().numpy() * scale) @ steps
    for row in range(5):
        _close(output[row], expected[row])
        _close(found[row], backward[row])


def test_an_int8_gradient_is_near_the_dequantised_weights() -> None:
    """Whatever the channels' scales: a gradient rounded before them would lose the small ones'."""
    weight = torch.randn(48, 12) * torch.logspace(-2, 2, 48).unsqueeze(1)
    gradient = torch.randn(5, 48) / torch.logspace(-2, 2, 48)
    x = torch.randn(5, 12, requires_grad=True)
    (found,) = torch.autograd.grad(FrozenLinear(weight, None, "int8")(x), x, gradient)
    meant = torch.from_numpy(_rounded_weight(weight.double().numpy()))
    exact = x.detach().double().requires_grad_()
    (expected,) = torch.autograd.grad(exact @ meant.T, exact, gradient.double())
    error = (found - expected).norm(dim=1) / expected.norm(dim=1)
    assert (error < 0.01).all()


def test_fp32_is_the_linear_layer_in_both_directions() -> None:
    weight, bias = torch.randn(7, 12), torch.randn(7)
    x, gradient = torch.randn(2, 3, 12, requires_grad=True), torch.randn(2, 3, 7)
    output = FrozenLinear(weight, bias, "fp32")(x)
    (found,) = torch.autograd.grad(output, x, gradient)
    full = weight.double().numpy()
    _close(output, x.detach().double().numpy() @ full.T + bias.double().numpy())
    _close(found, gradient.double().numpy() @ full)


@pytest.mark.parametrize("size", [1.0, 1e-6, 1e-12, 1e-25, 1e-33])
def test_small_gradients_keep_their_digits(size: float) -> None:
    weight = torch.randn(16, 8)
    x, gradient = torch.randn(4, 8, requires_grad=True), torch.randn(4, 16)
    output = FrozenLinear(weight, None, "int8")(x)
    (of_one,) = torch.autograd.grad(output, x, gradient, retain_graph=True)
    (found,) = torch.autograd.grad(output, x, gradient * size)
    torch.testing.assert_close(found / size, of_one, atol=1e-4, rtol=1e-4)


def test_each_token_has_a_scale_of_its_own() -> None:
    x = torch.randn(3, 4, 16)
    x[1, 2] *= 1e6
    rounded, scale, zero = quantise_tokens(x)
    assert rounded.dtype == torch.int8
    assert scale.shape == zero.shape == (3, 4)
    alone = quantise_tokens(torch.cat([x[1, :2], x[1, 3:]]))
    assert rounded[1, [0, 1, 3]].equal(alone[0])
    error = (dequantise_tokens(rounded, scale, zero) - x).abs()
    assert (error <= 0.5 * scale.unsqueeze(2) + 1e-6 * x.abs()).all()


@pytest.mark.parametrize("token", [[0.0] * 4, [5.0] * 4, [-2.0, -2.0, -1.0, -2.0]])
def test_tokens_of_one_sign_or_of_zeros(token: list[float]) -> None:
    x = torch.tensor([token])
    meant = dequantise_tokens(*quantise_tokens(x))
    torch.testing.assert_close(meant, x, atol=0.5 * x.abs().max().item() / 255 + 1e-30, rtol=0)
    assert meant.isfinite().all()


def test_zero_is_exact_in_every_token() -> None:
    x = torch.randn(50, 9)
    x[:, 4] = 0
    assert dequantise_tokens(*quantise_tokens(x))[:, 4].eq(0).all()


def test_weights_are_symmetric_and_each_channel_reaches_the_end() -> None:
    weight = torch.randn(6, 30) * torch.logspace(-8, 8, 6).unsqueeze(1)
    rounded, scale = quantise_weight(weight)
    assert (rounded.dtype, scale.shape) == (torch.int8, (6,))
    assert rounded.abs().amax(dim=1).eq(127).all()
    error = (rounded * scale.unsqueeze(1) - weight).abs()
    assert (error <= 0.5001 * scale.unsqueeze(1)).all()


def test_a_channel_of_zeros_stays_zero() -> None:
    weight = torch.randn(3, 5)
    weight[1] = 0
    rounded, scale = quantise_weight(weight)
    assert rounded[1].eq(0).all()
    assert (scale > 0).all()
    assert FrozenLinear(weight, None, "int8")(torch.randn(2, 5))[:, 1].eq(0).all()


@pytest.mark.parametrize(("precision", "dtype"), [("int8", torch.int8), ("fp32", torch.float32)])
def test_a_frozen_layer_has_no_parameters_and_holds_its_weight_once(
    precision: Precision, dtype: torch.dtype
) -> None:
    layer = FrozenLinear(torch.randn(4, 8).T, torch.randn(8), precision)
    assert list(layer.parameters()) == []
    matrices = [value for value in layer.buffers() if value.dim() == 2]
    assert [(value.dtype, tuple(value.shape)) for value in matrices] == [(dtype, (8, 4))]
    assert layer.weight.is_contiguous()
