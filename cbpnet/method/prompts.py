"""DualPrompt's prompts: a shared G-prompt, one E-prompt a task, and the keys that select it.

Wang et al., ECCV 2022, arXiv:2204.04799. Prompts are prefixes (keys and values put before those of
a layer's tokens), so the sequence length never changes. They are stored with their keys and values
on an axis of their own, [..., 2, length, dim], and never reshaped across it: the public PyTorch
port reshapes where it must permute, and with a shared prompt half of a batch then attends to
(K, K) and the other half to (V, V).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from cbpnet.method.rows import cosines

__all__ = ["gather_task", "one_hot", "prefixes", "scatter_task", "select_task"]


def one_hot(index: Tensor, size: int) -> Tensor:
    """Return fp32 one-hot rows [B, size] of whole numbers [B]; a number outside gives zeros."""
    return (index.unsqueeze(-1) == torch.arange(size, device=index.device)).float()


def gather_task(pool: Tensor, tasks: Tensor) -> Tensor:
    """Return the entries [B, ...] of a pool [T, ...] that one-hot rows ``tasks`` [B, T] name.

    A product instead of an index, so that an exported program needs no gather.
    """
    return (tasks.to(pool.dtype) @ pool.flatten(1)).view(-1, *pool.shape[1:])


def scatter_task(pool: Tensor, task: Tensor, entry: Tensor) -> Tensor:
    """Return the pool [T, ...] with the entry named by the one-hot ``task`` [1, T] replaced.

    ``entry`` is [1, ...]; every other entry keeps its bits.
    """
    chosen = task.view(-1, *[1] * (pool.dim() - 1)) > 0
    return torch.where(chosen, entry, pool)


def select_task(query: Tensor, keys: Tensor, known: Tensor) -> Tensor:
    """Return, for each image on its own, the one-hot task [B, T] of its nearest known key.

    ``known`` [T] is 1 for tasks that exist and 0 for the rest. Selection is per image: a vote over
    a batch, as in public code, leaks the task, because evaluation goes through one task at a time.
    """
    similarity = cosines(query, keys).masked_fill(known == 0, -2.0)
    return one_hot(similarity.argmax(dim=1), keys.shape[0])


def prefixes(
    g_prompt: Tensor | None,
    e_prompt: Tensor | None,
    g_layers: Sequence[int],
    e_layers: Sequence[int],
) -> dict[int, Tensor]:
    """Return each prompted layer's prefix [B or 1, 2, length, dim].

    ``g_prompt`` [G layers, 2, length, dim] is shared by the batch; ``e_prompt``
    [B or 1, E layers, 2, length, dim] belongs to each image's task. Either may be missing.
    """
    found: dict[int, Tensor] = {}
    if g_prompt is not None:
        found |= {layer: g_prompt[i : i + 1] for i, layer in enumerate(g_layers)}
    if e_prompt is not None:
        found |= {layer: e_prompt[:, i] for i, layer in enumerate(e_layers)}
    return found
