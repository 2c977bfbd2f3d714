import functools

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits, make_classification
from sklearn.linear_model import Ridge as ReferenceRidge

from cbpnet.host.errors import InputError
from cbpnet.study.closed_form import LinearProbe, NearestClassMean, RanPAC, Ridge, solve_ridge

STREAMED = {
    "nearest class mean": NearestClassMean,
    "ridge": Ridge,
    "RanPAC": functools.partial(RanPAC, projection_size=60),
}
PEERS = STREAMED | {"linear probe": LinearProbe}


@pytest.fixture(scope="module")
def blobs():
    """300 images of 6 classes, 12 features with an offset, unequal class sizes."""
    features, labels = make_classification(
        300,
        12,
        n_informative=8,
        n_classes=6,
        weights=[0.3, 0.25, 0.15, 0.1, 0.1, 0.1],
        class_sep=1.5,
        random_state=0,
    )
    return torch.from_numpy(features + 3.0).float(), torch.from_numpy(labels)


@pytest.fixture(scope="module")
def digits():
    pixels, labels = load_digits(return_X_y=True)
    pixels, labels = torch.from_numpy(pixels).float(), torch.from_numpy(labels)
    return pixels[:600], labels[:600], pixels[600:], labels[600:]


def fitted(peer, features, labels, tasks):
    for task in tasks:
        chosen = torch.isin(labels, torch.tensor(task))
        peer.fit_task(features[chosen], labels[chosen])
    return peer


def one_hot(labels, classes):
    return np.eye(classes)[labels.numpy()]


@pytest.mark.parametrize("name", STREAMED)
def test_streamed_in_any_order_equals_all_at_once(name, blobs):
    features, labels = blobs
    scores = [
        fitted(STREAMED[name](12, 6), features, labels, tasks).scores(features)
        for tasks in ([range(6)], [(0, 1), (2, 3), (4, 5)], [(5, 2), (0,), (4, 1, 3)])
    ]
    portions = STREAMED[name](12, 6)
    for start in range(0, 300, 37):
        portions.fit_task(features[start : start + 37], labels[start : start + 37])
    for other in (*scores[1:], portions.scores(features)):
        torch.testing.assert_close(other, scores[0], rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", PEERS)
def test_unseen_classes_score_minus_infinity_until_they_are_seen(name, blobs):
    features, labels = blobs
    peer = PEERS[name](12, 6)
    fitted(peer, features, labels, [(1, 4)])
    scores = peer.scores(features[:9])
    assert scores.shape == (9, 6)
    assert scores.dtype == torch.float64
    assert torch.equal(scores.isfinite().all(0), torch.tensor([False, True, False, False, True, 0]))
    assert (scores[:, [0, 2, 3, 5]] == -torch.inf).all()
    fitted(peer, features, labels, [(0, 2, 3, 5)])
    assert peer.scores(features[:9]).isfinite().all()


def test_nearest_class_mean_equals_plain_loops(blobs):
    features, labels = blobs
    peer = fitted(NearestClassMean(12, 6), features, labels, [(0, 1, 2), (3, 4, 5)])
    images, truth = features.double().numpy(), labels.numpy()
    means = [images[truth == label].mean(0) for label in range(6)]
    expected = [
        [image @ mean / (np.linalg.norm(image) * np.linalg.norm(mean)) for mean in means]
        for image in images
    ]
    np.testing.assert_allclose(peer.scores(features), expected, atol=1e-12)


def test_ridge_equals_scikit_learns(blobs):
    features, labels = blobs
    solution = fitted(Ridge(12, 6), features, labels, [(0, 1), (2, 3), (4, 5)]).solution()
    reference = ReferenceRidge(alpha=solution.penalty, solver="cholesky")
    reference.fit(features.double().numpy(), one_hot(labels, 6))
    np.testing.assert_allclose(solution.weights, reference.coef_.T, atol=1e-10)
    np.testing.assert_allclose(solution.bias, reference.intercept_, atol=1e-10)
    peer = fitted(Ridge(12, 6), features, labels, [range(6)])
    expected = reference.predict(features.double().numpy())
    np.testing.assert_allclose(peer.scores(features), expected, atol=1e-10)


@pytest.mark.parametrize("images", [300, 9])
def test_ridge_penalty_minimises_generalised_cross_validation(blobs, images):
    features, labels = blobs[0][:images], blobs[1][:images]
    centred = features.double().numpy()
    centred = centred - centred.mean(0)
    targets = one_hot(labels, 6)
    targets = targets - targets.mean(0)
    scale = np.trace(centred.T @ centred) / 12

    def criterion(penalty):
        hat = centred @ np.linalg.solve(centred.T @ centred + penalty * np.eye(12), centred.T)
        residual = ((targets - hat @ targets) ** 2).sum()
        freedom = 1 + np.trace(hat)
        return images * residual / (images - freedom) ** 2 if freedom <= 0.8 * images else np.inf

    grid = scale * np.logspace(-6, 3, 37)
    chosen = fitted(Ridge(12, 6), features, labels, [range(6)]).solution().penalty
    assert chosen == pytest.approx(min(grid, key=criterion))


def left_out_one_by_one(features, labels, penalty):
    """Mean squared error over images, each predicted by scikit-learn's ridge on all the others."""
    targets = one_hot(labels, 4)
    errors = []
    for image in range(len(features)):
        others = np.arange(len(features)) != image
        model = ReferenceRidge(alpha=penalty, solver="cholesky")
        model.fit(features[others], targets[others])
        errors.append(((model.predict(features[[image]])[0] - targets[image]) ** 2).sum())
    return np.mean(errors)


@pytest.mark.parametrize("images", [30, 50, 60, 70])
def test_an_image_that_occurs_twice_does_not_make_interpolation_look_perfect(images):
    """60 random features of as many images or fewer, or more: what RanPAC meets in its first tasks.

    In CIFAR-100 a class has the same training image twice; plain cross-validation, as in the
    textbooks, then takes the smallest penalty of all as long as there are fewer images than
    features.
    """
    random = np.random.default_rng(0)
    labels = torch.from_numpy(np.arange(images) % 4)
    points = 2 * random.normal(size=(4, 8))[labels] + 2 * random.normal(size=(images, 8))
    points[4] = points[0]
    features = np.maximum(points @ random.normal(size=(8, 60)), 0)
    centred = features - features.mean(0)
    grid = (centred**2).sum() / 60 * np.logspace(-6, 3, 37)

    def plain(penalty):
        targets = one_hot(labels, 4) - one_hot(labels, 4).mean(0)
        hat = centred @ np.linalg.solve(centred.T @ centred + penalty * np.eye(60), centred.T)
        return ((targets - hat @ targets) ** 2).sum() / (images - 1 - np.trace(hat)) ** 2

    if images < 60:
        assert min(grid, key=plain) == grid[0]
    chosen = fitted(Ridge(60, 4), torch.from_numpy(features), labels, [range(4)]).solution()
    errors = {penalty: left_out_one_by_one(features, labels, penalty) for penalty in grid}
    assert left_out_one_by_one(features, labels, chosen.penalty) < 1.1 * min(errors.values())
    assert errors[grid[0]] > 2 * min(errors.values()) or images > 60


def test_ridge_penalty_is_close_to_the_best_for_held_out_images(digits):
    features, labels, test_features, test_labels = digits
    tasks = [(0, 1, 2, 3, 4), (5, 6, 7, 8, 9)]
    peer = fitted(Ridge(64, 10), features, labels, tasks)
    own = (peer.scores(test_features).argmax(1) == test_labels).double().mean()
    best = max(
        (
            ReferenceRidge(alpha=alpha)
            .fit(features.numpy(), one_hot(labels, 10))
            .predict(test_features.numpy())
            .argmax(1)
            == test_labels.numpy()
        ).mean()
        for alpha in 10.0 ** np.arange(0, 7)
    )
    assert own > best - 0.01


def test_ridge_learns_again_after_it_has_scored(blobs):
    features, labels = blobs
    peer = fitted(Ridge(12, 6), features, labels, [(0, 1)])
    peer.scores(features)
    fitted(peer, features, labels, [(2, 3, 4, 5)])
    fresh = fitted(Ridge(12, 6), features, labels, [range(6)])
    torch.testing.assert_close(peer.scores(features), fresh.scores(features))


@pytest.mark.parametrize("images", [1, 4])
def test_ridge_of_very_few_images_is_finite(images):
    features = torch.ones(images, 5)
    labels = torch.arange(images)
    solution = solve_ridge(
        (features.T @ features).double(),
        torch.zeros(4, 5, dtype=torch.float64).index_add_(0, labels, features.double()),
        torch.bincount(labels, minlength=4).double(),
    )
    # Images that do not differ tell nothing: every score is the class's share.
    assert torch.equal(solution.weights, torch.zeros(5, 4, dtype=torch.float64))
    assert solution.bias.tolist() == [1 / images] * images + [0.0] * (4 - images)


def test_ranpac_is_ridge_on_projected_features(blobs):
    features, labels = blobs
    peer = fitted(
        RanPAC(12, 6, projection_size=60, seed=3), features, labels, [(0, 1, 2), (3, 4, 5)]
    )
    projection = torch.randn(
        12, 60, generator=torch.Generator().manual_seed(3), dtype=torch.float64
    )
    projected = (features.double() @ projection).clamp(min=0)
    ridge = fitted(Ridge(60, 6), projected, labels, [range(6)])
    torch.testing.assert_close(peer.scores(features), ridge.scores(projected), rtol=0, atol=1e-8)


def test_ranpac_draws_its_projection_from_its_seed():
    first, again, other = (RanPAC(4, 2, projection_size=5, seed=s).projection for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert RanPAC(4, 2).projection.shape == (4, 2000)


def test_linear_probe_is_logistic_regression_on_everything_seen(digits):
    features, labels, test_features, test_labels = digits
    streamed = fitted(LinearProbe(64, 10), features, labels, [(0, 1, 2, 3, 4), (5, 6, 7, 8, 9)])
    scores = streamed.scores(test_features)
    torch.testing.assert_close(scores.exp().sum(1), torch.ones(len(scores), dtype=torch.float64))
    # An independent optimiser on the same standardised images, without a penalty's help.
    weights = torch.zeros(64, 10, requires_grad=True)
    scaled = (features - features.mean(0)) / features.std(0).clamp(min=1.0)
    optimiser = torch.optim.Adam([weights], lr=0.05, weight_decay=1e-3)
    for _ in range(100):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(scaled @ weights, labels).backward()
        optimiser.step()
    scaled = (test_features - features.mean(0)) / features.std(0).clamp(min=1.0)
    reference = ((scaled @ weights).argmax(1) == test_labels).float().mean()
    own = (scores.argmax(1) == test_labels).float().mean()
    assert own > reference - 0.02
    assert own > 0.9


def test_linear_probe_works_with_one_image_a_class():
    features = torch.eye(3)
    probe = LinearProbe(3, 3)
    probe.fit_task(features, torch.arange(3))
    assert probe.scores(features).argmax(1).tolist() == [0, 1, 2]


def test_linear_probe_is_certain_of_an_only_class(blobs):
    probe = fitted(LinearProbe(12, 6), *blobs, [(2,)])
    assert probe.scores(blobs[0][:1]).tolist() == [[-torch.inf, -torch.inf, 0.0] + [-torch.inf] * 3]
    both = fitted(LinearProbe(12, 6), *blobs, [(2,), (4,)])
    expected = fitted(LinearProbe(12, 6), *blobs, [(2, 4)]).scores(blobs[0])
    torch.testing.assert_close(both.scores(blobs[0]), expected)


@pytest.mark.parametrize("name", PEERS)
def test_every_peer_learns_task_after_task(name, digits):
    features, labels, test_features, test_labels = digits
    peer = functools.partial(RanPAC, projection_size=300) if name == "RanPAC" else PEERS[name]
    peer = fitted(peer(64, 10), features, labels, [range(5), range(5, 10)])
    accuracy = (peer.scores(test_features).argmax(1) == test_labels).float().mean()
    assert accuracy > 0.85


@pytest.mark.parametrize("name", PEERS)
def test_bad_input_is_refused(name):
    peer = PEERS[name](4, 3)
    features, labels = torch.zeros(2, 4), torch.tensor([0, 1])
    with pytest.raises(InputError, match=r"learnt"):
        peer.scores(features)
    with pytest.raises(InputError, match=r"shape \[2, 5\]; they must be \[N, 4\]"):
        peer.fit_task(torch.zeros(2, 5), labels)
    with pytest.raises(InputError, match="NaN or infinity"):
        peer.fit_task(torch.full((2, 4), torch.nan), labels)
    with pytest.raises(InputError, match=r"int64 \[1\]; they must be torch.int64 \[2\]"):
        peer.fit_task(features, torch.tensor([0]))
    with pytest.raises(InputError, match=r"torch.float32 \[2\]; they must be torch.int64"):
        peer.fit_task(features, torch.zeros(2))
    with pytest.raises(InputError, match="run from 0 to 3; they must be in 0 to 2"):
        peer.fit_task(features, torch.tensor([0, 3]))
    with pytest.raises(InputError, match="run from -1 to 0; they must be in 0 to 2"):
        peer.fit_task(features, torch.tensor([0, -1]))
