"""The inverse in products, against LAPACK's in double precision."""

import pytest
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from quantize.inversion import INVERSE_DECOMPOSITION, inverse_by_sweeps


def _matrix(size: int, condition: float, seed: int = 0) -> Tensor:
    """A symmetric matrix whose eigenvalues fall from 1 to 1 / condition."""
    generator = torch.Generator().manual_seed(seed)
    basis, _ = torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64))
    values = condition ** -torch.linspace(0, 1, size, dtype=torch.float64)
    return (basis * values) @ basis.T


def _error(found: Tensor, matrix: Tensor) -> float:
    exact = torch.linalg.inv(matrix)
    return float((found.double() - exact).norm() / exact.norm())


@pytest.mark.parametrize("size", [1, 12, 63, 64, 65, 100, 192, 400])
@pytest.mark.parametrize(("condition", "most"), [(10.0, 1e-6), (1e4, 1e-3), (1e5, 2e-2)])
def test_it_is_the_inverse(size: int, condition: float, most: float) -> None:
    for seed in range(3):
        matrix = _matrix(size, condition, seed)
        assert _error(inverse_by_sweeps(matrix.float()), matrix) < most


def test_it_loses_little_more_than_lapack() -> None:
    matrices = [_matrix(size, 1e4) for size in (20, 64, 150, 256)]
    ours = sum(_error(inverse_by_sweeps(m.float()), m) for m in matrices)
    theirs = sum(_error(torch.linalg.inv(m.float()), m) for m in matrices)
    assert ours < 3 * theirs


def test_scales_of_rows_do_not_matter() -> None:
    matrix = _matrix(80, 1e3)
    scales = 10 ** torch.linspace(-6, 6, 80, dtype=torch.float64)
    scaled = matrix * scales * scales.unsqueeze(1)
    found = inverse_by_sweeps(scaled.float()).double() * scales * scales.unsqueeze(1)
    assert _error(found, matrix) < 1e-4


def test_the_order_of_elimination_does_not_matter() -> None:
    matrix = _matrix(130, 1e4).float()
    order = torch.randperm(130, generator=torch.Generator().manual_seed(1))
    found = inverse_by_sweeps(matrix[order][:, order])
    back = order.argsort()
    expected = inverse_by_sweeps(matrix)
    assert (found[back][:, back] - expected).norm() < 1e-3 * expected.norm()


def test_what_scatter_with_a_prior_leaves() -> None:
    """More features than images, half of them nearly copies of the others."""
    x = torch.randn(90, 60, generator=torch.Generator().manual_seed(2)).double()
    x = torch.cat([x, x + 1e-3 * torch.randn(90, 60).double()], dim=1)
    scatter = x.T @ x
    matrix = scatter + 0.1 * scatter.trace() / 89 * torch.eye(120).double()
    assert _error(inverse_by_sweeps(matrix.float()), matrix) < 1e-4


def test_in_double_precision_it_is_exact() -> None:
    matrix = _matrix(70, 1e4)
    assert _error(inverse_by_sweeps(matrix), matrix) < 1e-10


@pytest.mark.parametrize("early", [False, True])
def test_tracing_puts_it_in_the_place_of_lapacks(early: bool) -> None:
    """At several sizes in one process, and twice in a function."""
    for size in (20, 70, 33):

        def both(first: Tensor, second: Tensor) -> list[Tensor]:
            return [torch.linalg.inv_ex(matrix).inverse for matrix in (first, second)]

        matrices = [_matrix(size, 100.0, seed) for seed in (0, 1)]
        given = [matrix.float() for matrix in matrices]
        traced = make_fx(both, INVERSE_DECOMPOSITION, "fake", pre_dispatch=early)(*given)
        targets = [str(node.target) for node in traced.graph.nodes]
        assert targets.count("scan") == 2
        assert not any("linalg" in target for target in targets)
        for found, matrix in zip(traced(*given), matrices, strict=True):
            assert _error(found, matrix) < 1e-5
