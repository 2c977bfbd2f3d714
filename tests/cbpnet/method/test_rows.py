"""Products and cosines of rows against torch's own."""

import pytest
import torch
import torch.nn.functional as F

from cbpnet.method.rows import times_rows, unit_rows


def test_products() -> None:
    x, rows = torch.randn(3, 7, dtype=torch.float64), torch.randn(5, 7, dtype=torch.float64)
    torch.testing.assert_close(times_rows(x, rows), torch.einsum("bd,cd->bc", x, rows))


@pytest.mark.parametrize("size", [1e-8, 1.0, 1e8])
def test_unit_rows_and_their_gradients_are_normalizes(size: float) -> None:
    x = (size * torch.randn(5, 7, dtype=torch.float64)).requires_grad_()
    above = torch.randn(5, 7, dtype=torch.float64)
    found, right = unit_rows(x), F.normalize(x, dim=1)
    torch.testing.assert_close(found, right)
    torch.testing.assert_close(
        torch.autograd.grad(found, x, above), torch.autograd.grad(right, x, above)
    )


def test_a_row_of_zeros_stays_and_its_gradient_is_finite() -> None:
    x = torch.zeros(2, 3, requires_grad=True)
    found = unit_rows(x)
    assert found.eq(0).all()
    (gradient,) = torch.autograd.grad(found, x, torch.ones(2, 3))
    assert gradient.isfinite().all()
