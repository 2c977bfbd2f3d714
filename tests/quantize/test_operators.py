"""Operators and their backward passes against autograd of the textbook's formula in float64."""

import pytest
import torch
from torch import Tensor

from quantize.operators import (
    attention,
    centred,
    equal_parts,
    layer_norm,
    rms_norm,
    rotate,
    row_sum,
    select_tokens,
)

from .textbook import Function, agree


def _textbook_layer_norm(x: Tensor, eps: float) -> Tensor:
    mean = x.sum(-1, keepdim=True) / x.shape[-1]
    variance = ((x - mean) ** 2).sum(-1, keepdim=True) / x.shape[-1]
    return (x - mean) / torch.sqrt(variance + eps)


def _textbook_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    scores = torch.exp(torch.einsum("bnd,bmd->bnm", query, key))
    return torch.einsum("bnm,bmd->bnd", scores / scores.sum(-1, keepdim=True), value)


@pytest.mark.parametrize("eps", [1e-6, 1e-5, 0.5])
def test_layer_norm(eps: float) -> None:
    x = 3 * torch.randn(2, 5, 24) + 1
    agree(lambda x: layer_norm(x, eps), lambda x: _textbook_layer_norm(x, eps), x, single=3e-6)


def test_layer_norm_where_eps_outweighs_the_variance() -> None:
    x = 1e-4 * torch.randn(3, 24)
    agree(lambda x: layer_norm(x, 1e-6), lambda x: _textbook_layer_norm(x, 1e-6), x)


def test_layer_norm_of_a_constant_token_is_0() -> None:
    x = torch.full((1, 24), 3.0, requires_grad=True)
    output = layer_norm(x, 1e-6)
    (gradient,) = torch.autograd.grad(output, x, torch.randn(1, 24))
    assert output.abs().max() < 1e-3
    assert gradient.isfinite().all()


def test_centred() -> None:
    x = 3 * torch.randn(2, 5, 24) + 1
    torch.testing.assert_close(centred(x), x - x.mean(dim=-1, keepdim=True))


@pytest.mark.parametrize("eps", [1e-6, 0.5])
def test_rms_norm_is_layer_norm_of_tokens_of_mean_0(eps: float) -> None:
    x = centred(3 * torch.randn(2, 5, 24, dtype=torch.float64))
    torch.testing.assert_close(rms_norm(x, eps), _textbook_layer_norm(x, eps))

    def textbook(x: Tensor, eps: float) -> Tensor:
        return x / torch.sqrt((x**2).sum(-1, keepdim=True) / x.shape[-1] + eps)

    # Where the mean is not 0 as well: rounded weights leave a little.
    x = 3 * torch.randn(2, 5, 24) + 1
    agree(lambda x: rms_norm(x, eps), lambda x: textbook(x, eps), x, single=3e-6)


@pytest.mark.parametrize(("queries", "keys"), [(6, 6), (1, 9), (6, 11), (7, 2)])
def test_attention(queries: int, keys: int) -> None:
    inputs = [torch.randn(4, count, 8) for count in (queries, keys, keys)]
    agree(attention, _textbook_attention, *inputs, single=3e-6)


@pytest.mark.parametrize("learns", ["all", "prefix"])
@pytest.mark.parametrize(("queries", "length"), [(6, 3), (1, 1)])
def test_attention_with_a_prefix(queries: int, length: int, learns: str) -> None:
    def with_prefix(function: Function, *parts: Tensor) -> Tensor:
        before, (query, key, value) = parts[:2], parts[2:]
        if function is attention:
            return attention(query, key, value, (before[0], before[1]))
        return function(
            query, torch.cat([before[0], key], dim=1), torch.cat([before[1], value], dim=1)
        )

    prefix = [torch.randn(4, length, 8) for _ in range(2)]
    others = [torch.randn(4, count, 8) for count in (queries, 6, 6)]
    learnt = [*prefix, *others] if learns == "all" else prefix

    def function(which: Function) -> Function:
        return lambda *given: with_prefix(
            which, *given, *(x.to(given[0].dtype) for x in others[len(given) - 2 :])
        )

    agree(function(attention), function(_textbook_attention), *learnt, single=3e-6)


def test_attention_that_is_all_on_one_key() -> None:
    query, key, value = (
        torch.full((1, 1, 1), 200.0),
        torch.eye(3)[:, :1][None],
        torch.randn(1, 3, 1),
    )
    torch.testing.assert_close(attention(query, key, value), value[:, :1])


@pytest.mark.parametrize(("first", "last"), [(0, 1), (0, 2), (0, 5), (1, 5), (2, 4)])
def test_select_tokens(first: int, last: int) -> None:
    agree(lambda x: select_tokens(x, first, last), lambda x: x[:, first:last], torch.randn(3, 5, 4))


@pytest.mark.parametrize("which", [0, 1, 2])
def test_each_third(which: int) -> None:
    agree(
        lambda x: equal_parts(x, 3)[which],
        lambda x: torch.chunk(x, 3, dim=1)[which],
        torch.randn(2, 6, 4, 5),
    )


def test_thirds_together() -> None:
    def product(parts: tuple[Tensor, ...]) -> Tensor:
        return parts[0] * parts[1] + parts[2]

    agree(
        lambda x: product(equal_parts(x, 3)),
        lambda x: product(torch.chunk(x, 3, dim=1)),
        torch.randn(2, 6, 4, 5),
    )


def test_rotate_turns_each_pair_by_its_angle() -> None:
    angles = torch.randn(3, 1, 5, 4, dtype=torch.float64)
    cosine, sine = angles.cos(), angles.sin()

    def ours(x: Tensor) -> Tensor:
        tables = (cosine.repeat(1, 1, 1, 2), torch.cat([-sine, sine], dim=-1))
        return rotate(x, *(table.to(x.dtype) for table in tables))

    def textbook(x: Tensor) -> Tensor:
        turned = torch.view_as_complex(torch.stack(x.chunk(2, dim=-1), dim=-1))
        turned = turned * torch.polar(torch.ones_like(angles), angles)
        return torch.cat([turned.real, turned.imag], dim=-1)

    agree(ours, textbook, torch.randn(3, 2, 5, 8))


@pytest.mark.parametrize("factor", [1.0, 0.25])
def test_row_sum(factor: float) -> None:
    x = torch.randn(2, 3, 7)
    torch.testing.assert_close(row_sum(x, factor), x.sum(-1, keepdim=True) * factor)
    assert row_sum(x, factor).shape == (2, 3, 1)


@pytest.mark.parametrize("size", [1e-12, 1e-25])
def test_small_gradients_are_not_rounded_away(size: float) -> None:
    x = torch.randn(2, 5, 24)
    agree(
        lambda x: layer_norm(x, 1e-6),
        lambda x: _textbook_layer_norm(x, 1e-6),
        x,
        upward=size,
        single=3e-6,
    )
    parts = (0.3 * x, 0.3 * x + 1, x - 1)
    agree(attention, _textbook_attention, *parts, upward=size, single=3e-6)


@pytest.mark.parametrize(
    ("ours", "textbook", "shapes"),
    [
        (
            lambda x, halves=False: layer_norm(x, 1e-6, halves),
            lambda x: _textbook_layer_norm(x, 1e-6),
            [(2, 5, 24)],
        ),
        (
            lambda x, halves=False: rms_norm(x, 1e-6, halves),
            lambda x: x / torch.sqrt((x**2).mean(-1, keepdim=True) + 1e-6),
            [(2, 5, 24)],
        ),
        (
            lambda *parts, halves=False: attention(*parts, None, halves),
            _textbook_attention,
            [(2, 5, 8)] * 3,
        ),
        (
            lambda query, key, value, *prefix, halves=False: attention(
                query, key, value, (prefix[0], prefix[1]), halves
            ),
            lambda query, key, value, *prefix: _textbook_attention(
                query, torch.cat([prefix[0], key], 1), torch.cat([prefix[1], value], 1)
            ),
            [(2, 5, 8)] * 3 + [(2, 3, 8)] * 2,
        ),
    ],
)
def test_what_is_kept_in_half_precision_costs_eleven_bits(
    ours: Function, textbook: Function, shapes: list[tuple[int, ...]]
) -> None:
    inputs = [torch.randn(shape, requires_grad=True) for shape in shapes]
    exact = [x.detach().double().requires_grad_() for x in inputs]
    found, right = ours(*inputs, halves=True), textbook(*exact)
    torch.testing.assert_close(found.double(), right, atol=1e-5, rtol=1e-5)  # all of its bits
    gradient = torch.randn(found.shape)
    for ours_, wanted in zip(
        torch.autograd.grad(found, inputs, gradient),
        torch.autograd.grad(right, exact, gradient.double()),
        strict=True,
    ):
        error = (ours_.double() - wanted).norm() / wanted.norm()
        assert 1e-5 < error < 1e-3
