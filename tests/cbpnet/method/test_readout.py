import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from cbpnet.host.random_streams import RandomStream
from cbpnet.method.config import LearnerConfig, ReadoutConfig
from cbpnet.method.initial import draw_state
from cbpnet.method.layout import readout_axes
from cbpnet.method.prompts import one_hot
from cbpnet.method.readout import observe_images, readout_scores
from cbpnet.method.tensors import as_tensors

DIM, CLASSES = 12, 5
# A power of two: its reciprocal, where the state starts, is exact in fp32.
RLS = ReadoutConfig("rls", regularisation=4.0)
RANDOM_FEATURES = ReadoutConfig("rls", regularisation=4.0, features=20)
MEANS = ReadoutConfig("means")


def stream(images=60, dim=DIM, classes=CLASSES, dtype=torch.float64):
    """Correlated features of root mean square about 1, and their labels."""
    mixing = torch.randn(dim, dim, dtype=dtype) / dim**0.5
    labels = torch.randint(classes, (images,))
    centres = torch.randn(classes, dim, dtype=dtype)
    return centres[labels] + torch.randn(images, dim, dtype=dtype) @ mixing, labels


def initial(config, dim, classes, seed=5):
    state = as_tensors(
        draw_state(LearnerConfig(readout=config), dim, classes, 1, RandomStream(seed, 0))
    )
    names = readout_axes(config, dim)
    return {name: value for name, value in state.items() if name in names}


def observed(config, query, labels, batch=8, classes=CLASSES):
    start = initial(config, query.shape[1], classes)
    state = {name: value.to(query.dtype) for name, value in start.items()}
    for rows, names in zip(query.split(batch), labels.split(batch), strict=True):
        state |= observe_images(config, state, rows, one_hot(names, classes).to(query.dtype))
    return state


def inputs_of(state, query):
    """The regression's inputs: the query, its random features, and 1 for the bias."""
    query = query.double().numpy()
    random = np.maximum(query @ state["readout.projection"].double().numpy(), 0)
    return np.hstack([query, random, np.ones((len(query), 1))])


def ridge(state, query, labels, regularisation, classes=CLASSES):
    """Ridge regression to one-hot targets, the bias being one more penalised input."""
    targets = np.eye(classes)[labels]
    model = Ridge(alpha=regularisation, fit_intercept=False, solver="cholesky")
    return model.fit(inputs_of(state, query), targets)


@pytest.mark.parametrize("config", [RLS, RANDOM_FEATURES])
def test_recursive_least_squares_is_ridge_regression(config):
    query, labels = stream()
    state = observed(config, query, labels)
    reference = ridge(state, query, labels, config.regularisation)
    np.testing.assert_allclose(state["readout.weight"], reference.coef_, rtol=0, atol=1e-10)
    fresh = torch.randn(9, DIM, dtype=torch.float64)
    scores = readout_scores("rls", state, fresh)
    np.testing.assert_allclose(
        scores, reference.predict(inputs_of(state, fresh)), rtol=0, atol=1e-10
    )
    inputs = inputs_of(state, query)
    inverse = np.linalg.inv(inputs.T @ inputs + config.regularisation * np.eye(inputs.shape[1]))
    np.testing.assert_allclose(state["readout.inverse"], inverse, rtol=0, atol=1e-10)


def test_the_random_projection_is_drawn_once_from_the_stream():
    query, labels = stream()
    projection = observed(RANDOM_FEATURES, query, labels)["readout.projection"]
    assert torch.equal(
        projection, observed(RANDOM_FEATURES, query[:1], labels[:1])["readout.projection"]
    )
    drawn = initial(ReadoutConfig("rls", features=300), 50, 2)
    assert drawn["readout.projection"].std().item() == pytest.approx(50**-0.5, rel=0.03)
    other = initial(RANDOM_FEATURES, DIM, 2, seed=6)
    assert not torch.equal(other["readout.projection"], projection.float())


@pytest.mark.parametrize("config", [RLS, RANDOM_FEATURES, MEANS])
def test_order_and_batches_do_not_matter_and_classes_may_come_later(config):
    query, labels = stream()
    in_order = labels.argsort(stable=True)  # class after class, as a class-incremental learner
    states = [
        observed(config, query, labels, batch=60),
        observed(config, query[in_order], labels[in_order], batch=7),
        observed(config, query.flip(0), labels.flip(0), batch=1),
    ]
    for state in states[1:]:
        for name, value in state.items():
            np.testing.assert_allclose(value, states[0][name], rtol=0, atol=1e-10, err_msg=name)


def test_a_later_class_leaves_a_ridge_over_all_images_so_far():
    query, labels = stream()
    first = labels < 3
    state = observed(RLS, query[first], labels[first])
    reference = ridge(state, query[first], labels[first], RLS.regularisation)
    np.testing.assert_allclose(state["readout.weight"], reference.coef_, rtol=0, atol=1e-10)
    assert state["readout.weight"][3:].eq(0).all()
    state |= observe_images(RLS, state, query[~first], one_hot(labels[~first], CLASSES).double())
    reference = ridge(state, query, labels, RLS.regularisation)
    np.testing.assert_allclose(state["readout.weight"], reference.coef_, rtol=0, atol=1e-10)


@pytest.mark.parametrize("regularisation", [1.0, 100.0])
def test_single_precision_stays_close_to_double_over_thousands_of_images(regularisation):
    """5,000 images of width 192; the largest errors measured are 3e-6 and 6e-6."""
    query, labels = stream(5000, dim=192, classes=20)
    config = ReadoutConfig("rls", regularisation=regularisation)
    state = observed(config, query.float(), labels, classes=20)
    reference = ridge(state, query, labels, regularisation, classes=20)
    error = np.abs(state["readout.weight"].double().numpy() - reference.coef_).max()
    assert error < 5e-5 * np.abs(reference.coef_).max()
    scores = readout_scores("rls", state, query[:500].float())
    expected = reference.predict(inputs_of(state, query[:500]))
    assert np.abs(scores.double().numpy() - expected).max() < 5e-5


def test_means_are_the_averages_of_their_images():
    query, labels = stream()
    labels[labels == 2] = 4  # a class without images
    state = observed(MEANS, query, labels)
    for number in range(CLASSES):
        members = [row for row, name in zip(query.numpy(), labels, strict=True) if name == number]
        assert state["classes.count"][number] == len(members)
        expected = sum(members) / len(members) if members else np.zeros(DIM)
        np.testing.assert_allclose(state["classes.mean"][number], expected, atol=1e-12)


def test_scores_of_means_are_cosines():
    query, labels = stream()
    state = observed(MEANS, query, labels)
    scores = readout_scores("means", state, query)
    for image, row in zip(query.numpy(), scores.numpy(), strict=True):
        for mean, score in zip(state["classes.mean"].numpy(), row, strict=True):
            cosine = image @ mean / np.linalg.norm(image) / np.linalg.norm(mean)
            assert score == pytest.approx(cosine)


@pytest.mark.parametrize("config", [RLS, RANDOM_FEATURES, MEANS])
def test_padding_changes_no_bit(config):
    query, labels = stream()
    before = observed(config, query, labels)
    padding = torch.full((3,), -1)
    after = before | observe_images(config, before, query[:3], one_hot(padding, CLASSES).double())
    assert all(torch.equal(after[name], value) for name, value in before.items())
    mixed = torch.tensor([1, -1, 0, CLASSES, 3])
    real = mixed[[0, 2, 4]]
    with_padding = before | observe_images(
        config, before, query[:5], one_hot(mixed, CLASSES).double()
    )
    without = before | observe_images(
        config, before, query[[0, 2, 4]], one_hot(real, CLASSES).double()
    )
    for name, value in without.items():
        np.testing.assert_allclose(with_padding[name], value, rtol=0, atol=1e-12, err_msg=name)
