"""Adam and gradient clipping as pure functions of tensors.

Kingma and Ba, ICLR 2015, arXiv:1412.6980, in the form of ``torch.optim.Adam`` without weight decay.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

__all__ = ["adam_step", "clip_factor"]

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


def clip_factor(gradients: Iterable[Tensor], max_norm: float) -> Tensor:
    """Return the factor, at most 1, that brings the gradients' global L2 norm to ``max_norm``.

    The same expression as ``torch.nn.utils.clip_grad_norm_``.
    """
    total = torch.stack([gradient.square().sum() for gradient in gradients]).sum().sqrt()
    return (max_norm / (total + 1e-6)).clamp(max=1.0)


def adam_step(
    parameter: Tensor, gradient: Tensor, m: Tensor, v: Tensor, step: Tensor, lr: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the parameter and both moments after one step.

    ``step`` [1] counts from 1 and already includes this step; ``lr`` broadcasts to the parameter.
    An entry whose gradient has always been zero keeps its bits.
    """
    m = BETA1 * m + (1 - BETA1) * gradient
    v = BETA2 * v + (1 - BETA2) * gradient.square()
    m_hat = m / (1 - BETA1**step)
    v_hat = v / (1 - BETA2**step)
    return parameter - lr * m_hat / (v_hat.sqrt() + EPSILON), m, v
