"""Activations and their backward passes against autograd of the textbook's formula in float64."""

import math

import pytest
import torch
from torch import Tensor

from quantize.activations import gelu, gelu_tanh, quick_gelu, swiglu

from .textbook import Function, agree


def _textbook_gelu(x: Tensor) -> Tensor:
    return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def test_gelu() -> None:
    agree(gelu, _textbook_gelu, 3 * torch.randn(2, 5, 40))


@pytest.mark.parametrize("size", [0.0, 1e-30, 1e-12, 1e-6, 1e-4, 1e-2])
def test_gelu_near_0(size: float) -> None:
    agree(gelu, _textbook_gelu, size * torch.linspace(-1, 1, 101))


@pytest.mark.parametrize("sign", [-1, 1])
def test_gelu_far_out(sign: int) -> None:
    x = (sign * torch.logspace(0.5, 5, 100)).requires_grad_()
    (slope,) = torch.autograd.grad(gelu(x), x, torch.ones_like(x))
    exact = x.detach().double().requires_grad_()
    (right,) = torch.autograd.grad(_textbook_gelu(exact), exact, torch.ones_like(exact))
    torch.testing.assert_close(slope.double(), right, atol=2e-7, rtol=1e-6)


def test_gelus_slope_in_double_everywhere() -> None:
    small = torch.logspace(-30, -3, 300).double()
    x = torch.cat([torch.linspace(-9, 9, 2001).double(), small, -small])
    leaf, exact = x.clone().requires_grad_(), x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(gelu(leaf).sum(), leaf)
    (right,) = torch.autograd.grad(_textbook_gelu(exact).sum(), exact)
    torch.testing.assert_close(slope, right, atol=1e-14, rtol=0)


def _textbook_gelu_tanh(x: Tensor) -> Tensor:
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def _textbook_quick_gelu(x: Tensor) -> Tensor:
    return x / (1 + torch.exp(-1.702 * x))


APPROXIMATIONS = [(gelu_tanh, _textbook_gelu_tanh), (quick_gelu, _textbook_quick_gelu)]


@pytest.mark.parametrize(("ours", "textbook"), APPROXIMATIONS)
def test_gelus_approximations(ours: Function, textbook: Function) -> None:
    agree(ours, textbook, 3 * torch.randn(2, 5, 40))


@pytest.mark.parametrize("ours", [gelu_tanh, quick_gelu])
def test_gelus_approximations_far_out(ours: Function) -> None:
    x = torch.tensor([-1e5, -60.0, 60.0, 1e5], requires_grad=True)
    output = ours(x)
    (slope,) = torch.autograd.grad(output.sum(), x)
    torch.testing.assert_close(output, torch.tensor([0.0, 0.0, 60.0, 1e5]))
    torch.testing.assert_close(slope, torch.tensor([0.0, 0.0, 1.0, 1.0]))


def _textbook_swiglu(x: Tensor) -> Tensor:
    gate, up = x.chunk(2, dim=-1)
    return gate / (1 + torch.exp(-gate)) * up


def test_swiglu() -> None:
    agree(swiglu, _textbook_swiglu, 3 * torch.randn(2, 5, 40))


@pytest.mark.parametrize(("ours", "textbook"), [*APPROXIMATIONS, (swiglu, _textbook_swiglu)])
def test_a_slope_that_is_kept_in_half_precision_costs_eleven_bits(
    ours: Function, textbook: Function
) -> None:
    x = torch.randn(2, 5, 24, requires_grad=True)
    exact = x.detach().double().requires_grad_()
    found, right = ours(x, halves=True), textbook(exact)
    torch.testing.assert_close(found.double(), right, atol=1e-5, rtol=1e-5)
    target = torch.randn(found.shape)
    (slope,) = torch.autograd.grad(found, x, target)
    (wanted,) = torch.autograd.grad(right, exact, target.double())
    assert 1e-5 < (slope.double() - wanted).norm() / wanted.norm() < 1e-3


@pytest.mark.parametrize("size", [1e-12, 1e-25])
def test_small_gradients_are_not_rounded_away(size: float) -> None:
    agree(gelu, _textbook_gelu, torch.randn(2, 5, 24), upward=size, double=1e-6)


def test_the_slope_that_is_a_difference_is_wrong_by_two_to_the_minus_seven_at_most() -> None:
    x = torch.linspace(-12, 12, 4801).requires_grad_()
    output = gelu(x, halves=True)
    torch.testing.assert_close(output, torch.nn.functional.gelu(x))
    (slope,) = torch.autograd.grad(output.sum(), x)
    exact = x.detach().double().requires_grad_()
    (right,) = torch.autograd.grad(_textbook_gelu(exact).sum(), exact)
    error = (slope.double() - right).abs().max()
    assert 2**-9 < error < 2**-7
