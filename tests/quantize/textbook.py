"""A comparison of operators, and their gradients, with the textbook's formula."""

from collections.abc import Callable

import torch
from torch import Tensor

Function = Callable[..., Tensor]


def agree(
    ours: Function,
    textbook: Function,
    *inputs: Tensor,
    single: float = 1e-6,
    double: float = 1e-10,
    upward: float = 1,
) -> None:
    """Outputs and gradients in fp32 and fp64, within these parts of the largest.

    ``upward`` is the size of the gradient that comes from above.
    """
    for dtype, bound in ((torch.float32, single), (torch.float64, double)):
        found_inputs = [x.to(dtype, copy=True).requires_grad_() for x in inputs]
        exact_inputs = [x.to(torch.float64, copy=True).requires_grad_() for x in inputs]
        found, exact = ours(*found_inputs), textbook(*exact_inputs)
        gradient = upward * torch.randn(exact.shape, dtype=torch.float64)
        pairs = [
            (found, exact),
            *zip(
                torch.autograd.grad(found, found_inputs, gradient.to(dtype)),
                torch.autograd.grad(exact, exact_inputs, gradient.to(dtype).double()),
                strict=True,
            ),
        ]
        for ours_, right in pairs:
            assert ours_.dtype == dtype
            limit = bound * max(right.abs().max().item(), 1e-300)
            torch.testing.assert_close(ours_.double(), right, atol=limit, rtol=bound)
