"""Carried statistics against the fit and the sums made image by image."""

import numpy as np
import torch

from cbpnet.method.drift import Drift
from cbpnet.method.prompts import one_hot
from cbpnet.method.statistics import ClassStatistics

CLASSES, SIZE = 4, 5


def generator(seed=0):
    return np.random.default_rng(seed)


def empty():
    square, rows = torch.zeros(SIZE, SIZE).double(), torch.zeros(CLASSES, SIZE).double()
    count = torch.zeros(CLASSES).double()
    return Drift(square, square, square, torch.zeros(1).double(), count, rows, rows)


def collected(before, after, weight, labels, portion=3):
    drift = empty()
    for few in zip(
        *(torch.from_numpy(part).split(portion) for part in (before, after, weight, labels)),
        strict=True,
    ):
        kept = one_hot(few[3], CLASSES).double()
        drift = drift.with_pairs(few[0], few[1], few[2], kept)
    return drift


def known():
    rng = generator(5)
    root = rng.normal(size=(SIZE, SIZE))
    count = np.array([6.0, 3.0, 0.0, 2.0])
    mean = rng.normal(size=(CLASSES, SIZE)) * (count > 0)[:, None]
    return ClassStatistics(*map(torch.from_numpy, (count, mean, root @ root.T)))


def test_a_map_that_explains_all_leaves_the_scatter_alone_but_for_the_map():
    """Many pairs of an exact linear change: what is carried is what was changed."""
    rng = generator()
    before = rng.normal(size=(4000, SIZE)) * 10
    change = np.eye(SIZE) + 0.1 * rng.normal(size=(SIZE, SIZE))
    drift = collected(before, before @ change, np.ones(4000), np.full(4000, -1), 500)
    statistics = known()
    carried = drift.carry(statistics)
    np.testing.assert_allclose(carried.mean, statistics.mean.numpy() @ change, atol=0.01)
    assert carried.count.equal(statistics.count)


def test_means_and_scatter_go_through_the_map_and_take_what_it_leaves():
    rng = generator(1)
    before, after = rng.normal(size=(11, SIZE)), rng.normal(size=(11, SIZE))
    labels = np.array([0, 0, 0, 1, -1, -1, -1, -1, -1, 3, 3])
    weight = np.where(labels < 0, 0.3, 1.0)
    statistics = known()
    carried = collected(before, after, weight, labels).carry(statistics)

    root = np.sqrt(weight)[:, None]
    b, a = root * before, root * after
    ridge = 0.5 * np.trace(b.T @ b) / weight.sum()
    # Ridge regression to the identity, as least squares with the penalty's rows appended.
    rows = np.vstack([b, np.sqrt(ridge) * np.eye(SIZE)])
    wanted = np.vstack([a, np.sqrt(ridge) * np.eye(SIZE)])
    moved = np.linalg.lstsq(rows, wanted, rcond=None)[0]
    residual = a - b @ moved
    scatter = moved.T @ statistics.scatter.numpy() @ moved
    scatter += 0.5 * 11 / weight.sum() * residual.T @ residual
    np.testing.assert_allclose(carried.scatter, scatter, rtol=1e-8, atol=1e-8)
    for label, kept in ((0, 3), (1, 1), (3, 2)):
        own = labels == label
        left = (after[own] - before[own] @ moved).mean(axis=0)
        mean = statistics.mean[label].numpy() @ moved + kept / (kept + 4) * left
        np.testing.assert_allclose(carried.mean[label], mean, rtol=1e-8, atol=1e-8)
    assert not carried.mean[2].any()


def test_no_change_changes_nothing():
    before = generator(2).normal(size=(9, SIZE))
    statistics = known()
    carried = collected(before, before, np.ones(9), np.full(9, -1)).carry(statistics)
    for name, value in vars(statistics).items():
        torch.testing.assert_close(getattr(carried, name), value)
