"""Class statistics and closed forms by their definitions, in numpy and float64."""

import numpy as np
import torch

CLASSES, SIZE = 5, 6
GAMMA, SHARE = 0.8, 0.75


def drawn(counts=(7, 2, 4, 0, 3), seed=0):
    """Images of classes as features [N, F], and their labels [N]."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(CLASSES).repeat_interleave(torch.tensor(counts))
    centres = torch.randn(CLASSES, SIZE, generator=generator, dtype=torch.float64)
    noise = torch.randn(len(labels), SIZE, generator=generator, dtype=torch.float64)
    return centres[labels] + 0.7 * noise + 2, labels


def statistics(x, labels):
    """Counts, means and pooled scatter."""
    count, mean = np.zeros(CLASSES), np.zeros((CLASSES, SIZE))
    scatter = np.zeros((SIZE, SIZE))
    for label in range(CLASSES):
        own = x[labels == label].numpy()
        if len(own):
            count[label], mean[label] = len(own), own.mean(0)
            scatter += (own - own.mean(0)).T @ (own - own.mean(0))
    return count, mean, scatter


def ridge_of(count, scatter, prior):
    return prior * np.trace(scatter) / (count.sum() - np.count_nonzero(count))


def scores_of(count, mean, scatter, ridge, image):
    """The score of each class for an image [F]; NaN for classes without images."""
    known = np.flatnonzero(count)
    inverse = np.linalg.inv(scatter + ridge * np.eye(SIZE))
    middle, trace = mean[known].mean(0), np.trace(inverse @ scatter)
    tau = trace / (count.sum() - len(known) - trace)
    squared = {c: (mean[c] - middle) @ inverse @ (mean[c] - middle) for c in known}
    typical = sum(count[c] * squared[c] for c in known) / count.sum()
    scores = np.full(CLASSES, np.nan)
    for c in known:
        projection = (image - middle) @ inverse @ (mean[c] - middle)
        projection += tau / len(known) * (1 / count[c] - np.mean(1 / count[known]))
        excess = tau * max(1 - 2 / len(known), 0) * (1 / count[c] - 1 / count.max())
        longer = typical + min(max(squared[c] - typical, 0), excess)
        bonus = SHARE * (np.sqrt(typical) - typical / np.sqrt(longer))
        scores[c] = projection / np.sqrt(squared[c]) + bonus
    return np.sqrt(count.sum()) * scores


def unknown_of(count, mean, scatter, ridge, image, free=None):
    """The unknown score of an image [F] by ``free`` degrees of freedom; default: by definition."""
    known = np.flatnonzero(count)
    free = max(count.sum() - len(known), 1) if free is None else free
    middle = mean[known].mean(0)
    spread = (mean[known] - middle).T @ (mean[known] - middle) / len(known)
    within = scatter + ridge * np.eye(SIZE)
    whole = np.linalg.inv(within + free * spread)
    near = min((image - mean[c]) @ np.linalg.inv(within) @ (image - mean[c]) for c in known)
    return free * (near - GAMMA * (image - middle) @ whole @ (image - middle))
