"""The inverse of a positive definite matrix in operators that every runtime has: products, mostly.

ExecuTorch has no kernel for an inverse. Here one is eliminated, a block of rows and columns at a
time, by the sweep operator (Goodnight, The American Statistician, 1979): with E the block's columns
of the identity, ``U = E' (A - I)`` and ``D = E' A E``, a step is ``A <- A - U' D^-1 U - 2 E E'``;
after all blocks stands -A^-1. Where D^-1 itself would lose twice the digits, the step takes the
square of ``D^-1/2 U``, and the root is found by the coupled iteration of Newton and Schulz (Higham,
Functions of Matrices, 2008, section 6.7). The matrix is scaled to a unit diagonal before. In single
precision this loses up to three times what LAPACK's elimination does up to a condition of 10^4,
which statistics of 50,000 images hardly reach; at 10^6 some tens of times.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch._higher_order_ops.scan import scan_op

__all__ = ["INVERSE_DECOMPOSITION", "inverse_by_sweeps"]

_BLOCK = 64  # rows
# Each serves eigenvalues that are 2.25 times smaller: 20 of them do for a condition of 10^6, where
# single precision ends.
_ITERATIONS = 20


def inverse_by_sweeps(matrix: Tensor) -> Tensor:
    """Return the inverse [N, N] of a symmetric positive definite matrix [N, N]."""
    size = len(matrix)
    whole = size + -size % _BLOCK
    root = (matrix * _identity(size, matrix)).sum(dim=1).rsqrt()
    scales = root.unsqueeze(0) * root.unsqueeze(1)
    outside = _identity(whole, matrix) * (torch.arange(whole) >= size)  # its inverse is itself
    scaled = F.pad(matrix * scales, (0, whole - size, 0, whole - size)) + outside
    swept = _swept(scaled, torch.arange(whole).view(-1, _BLOCK))[:size, :size]
    return (2 * _identity(size, matrix) - swept) * scales


def _swept(matrix: Tensor, blocks: Tensor) -> Tensor:
    """Return a matrix [N, N] swept by each of ``blocks`` [M, K], numbers of rows, but for ``2 I``.

    No later step reads a block's own place, so what all steps take from it is left to the end.
    """
    size = len(matrix)

    def step(swept: Tensor, block: Tensor) -> tuple[Tensor, Tensor]:
        chosen = (block.unsqueeze(1) == torch.arange(size)).to(swept.dtype)
        rows = swept.index_select(0, block)
        beside = _inverse_root(rows.index_select(1, block)) @ (rows - chosen)
        swept = swept - beside.T @ beside
        return swept, swept[0, :1].clone()  # a scan gives something each step

    # Not through `scan`, which compiles first, and takes another size for one that varies.
    swept: Tensor = scan_op(step, [matrix], [blocks], additional_inputs=())[0]
    return swept


def _inverse_root(block: Tensor) -> Tensor:
    """Return the inverse of a block's square root."""
    eye = _identity(_BLOCK, block)
    largest = block.abs().sum(dim=1).amax()  # no eigenvalue exceeds it
    middle = 1.5 * eye
    half_root, inverse = 0.5 * block / largest, eye
    for _ in range(_ITERATIONS):
        step = middle - inverse @ half_root
        half_root, inverse = half_root @ step, step @ inverse
    return inverse * largest.rsqrt()


def _identity(size: int, like: Tensor) -> Tensor:
    index = torch.arange(size)
    return (index.unsqueeze(0) == index.unsqueeze(1)).to(like.dtype)


def _inverse_and_no_error(matrix: Tensor, check_errors: bool = False) -> tuple[Tensor, Tensor]:
    return inverse_by_sweeps(matrix), torch.zeros((), dtype=torch.int32)


# For `make_fx`: what `torch.linalg.inv` is made of.
INVERSE_DECOMPOSITION = {torch.ops.aten.linalg_inv_ex.default: _inverse_and_no_error}
