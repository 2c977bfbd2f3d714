import math

import numpy as np
import pytest
import torch

from cbpnet.method.block import (
    BLOCK_PARAMETERS,
    BlockParameters,
    block_output,
    replace_units,
    residual_loss,
)
from cbpnet.method.cbp import UnitStatistics
from cbpnet.method.config import CBPConfig
from cbpnet.method.initial import initial_bound, initial_incoming

DIM, HIDDEN = 6, 5
PREFIXES = ("", "adam.m.", "adam.v.")


def random_tensors(layers=1, dtype=torch.float64):
    shapes = ((layers, DIM, HIDDEN), (layers, HIDDEN), (layers, HIDDEN, DIM))
    return {
        prefix + name: torch.randn(shape, dtype=dtype)
        for prefix in PREFIXES
        for name, shape in zip(BLOCK_PARAMETERS, shapes, strict=True)
    }


def parameters_of(tensors):
    return BlockParameters(*(tensors[name] for name in BLOCK_PARAMETERS))


def statistics_of(layers=1, age=0.0, dtype=torch.float64):
    return UnitStatistics(
        torch.zeros(layers, HIDDEN, dtype=dtype),
        torch.full((layers, HIDDEN), age, dtype=dtype),
        torch.zeros(layers, dtype=dtype),
    )


def plain_block(parameters, feature, activation):
    """The block on one feature in plain loops: its output and its hidden activations."""
    w_in, b_in, w_out = (
        value[0].tolist() for value in (parameters.w_in, parameters.b_in, parameters.w_out)
    )
    hidden = [b_in[i] + sum(feature[d] * w_in[d][i] for d in range(DIM)) for i in range(HIDDEN)]
    if activation == "relu":
        hidden = [max(0.0, value) for value in hidden]
    output = [sum(hidden[i] * w_out[i][d] for i in range(HIDDEN)) for d in range(DIM)]
    return output, hidden


@pytest.mark.parametrize("activation", ["relu", "identity"])
def test_output_is_that_of_the_plain_loops(activation):
    parameters = parameters_of(random_tensors())
    features = torch.randn(4, DIM, dtype=torch.float64)
    output, hidden = block_output(parameters, features, activation)
    for row, feature in enumerate(features.tolist()):
        expected = plain_block(parameters, feature, activation)
        assert output[row].tolist() == pytest.approx(expected[0])
        assert hidden[row].tolist() == pytest.approx(expected[1])


def test_incoming_weights_start_kaiming_uniform():
    reference = torch.empty(4000, 24)
    torch.nn.init.kaiming_uniform_(reference, nonlinearity="relu")
    found = initial_incoming(torch.rand(4000, 24))
    bound = math.sqrt(6 / 24)
    assert initial_bound(24) == pytest.approx(bound)
    assert found.abs().max() <= bound
    for low, high in ((-bound, -0.9 * bound), (-0.1 * bound, 0.1 * bound), (0.9 * bound, bound)):
        share = [((w > low) & (w < high)).float().mean().item() for w in (found, reference)]
        assert share[0] == pytest.approx(share[1], abs=0.005)
    edges = initial_incoming(torch.tensor([0.0, 0.5]))
    assert edges.tolist() == pytest.approx([-math.sqrt(3), 0.0])


@pytest.mark.parametrize("activation", ["relu", "identity"])
def test_residual_loss_is_that_of_the_plain_loops(activation):
    parameters = parameters_of(random_tensors())
    query = torch.randn(4, DIM, dtype=torch.float64)
    centres = torch.randn(3, DIM, dtype=torch.float64)
    labels = [2, 0, -1, 2]
    targets = torch.tensor([[float(c == label) for c in range(3)] for label in labels]).double()
    expected, activations = 0.0, []
    for label, image in zip(labels, query.tolist(), strict=True):
        if label >= 0:
            centre = centres[label].tolist()
            residual = [q - c for q, c in zip(image, centre, strict=True)]
            output, hidden = plain_block(parameters, residual, activation)
            squares = [(r + o) ** 2 for r, o in zip(residual, output, strict=True)]
            expected += sum(squares) / DIM
            activations.append(hidden)
    loss, hidden = residual_loss(parameters, query, targets, centres, activation)
    assert loss.item() == pytest.approx(expected)
    np.testing.assert_allclose(hidden[[0, 1, 3]], activations, atol=1e-12)


@pytest.mark.parametrize(("rate", "maturity"), [(0.02, 5), (0.3, 2), (0.5, 0)])
def test_replacement_is_that_of_the_plain_loops(plain_cbp, rate, maturity):
    """Two layers, hundreds of steps with random updates between: every entry of every tensor."""
    layers, config = 2, CBPConfig(rate, maturity, 0.9)
    rows = config.max_replacements(HIDDEN)
    rng = np.random.default_rng(1)
    tensors, statistics = random_tensors(layers), statistics_of(layers)
    expected = {name: value.numpy().copy() for name, value in tensors.items()}
    references = [plain_cbp(HIDDEN, rate, maturity, 0.9) for _ in range(layers)]
    replaced = 0
    for _ in range(300):
        for name, value in expected.items():
            value += 0.1 * rng.normal(size=value.shape)
            tensors[name] = torch.tensor(value)
        activity, noise = rng.exponential(size=(layers, HIDDEN)), rng.random((rows, layers, DIM))
        tensors, statistics = replace_units(
            tensors, statistics, torch.tensor(activity), torch.tensor(noise), config
        )
        for layer, reference in enumerate(references):
            units = reference.step(activity[layer], expected["block.w_out"][layer])
            for order, unit in enumerate(units):
                for prefix in PREFIXES:
                    expected[f"{prefix}block.w_in"][layer, :, unit] = 0.0
                    expected[f"{prefix}block.b_in"][layer, unit] = 0.0
                    expected[f"{prefix}block.w_out"][layer, unit, :] = 0.0
                for d in range(DIM):
                    fresh = (2 * noise[order, layer, d] - 1) * math.sqrt(6 / DIM)
                    expected["block.w_in"][layer, d, unit] = fresh
            replaced += len(units)
        for name, value in expected.items():
            np.testing.assert_allclose(tensors[name], value, rtol=0, atol=1e-12, err_msg=name)
        ages = [reference.age for reference in references]
        assert statistics.age.tolist() == ages
    assert replaced >= 20


def test_a_replacement_takes_away_exactly_the_units_contribution():
    tensors = random_tensors()
    config = CBPConfig(replacement_rate=1 / HIDDEN, maturity=3)
    features = torch.randn(7, DIM, dtype=torch.float64)
    before, hidden = block_output(parameters_of(tensors), features, "relu")
    activity = hidden.mean(dim=0, keepdim=True)
    contribution = (activity * tensors["block.w_out"].abs().sum(dim=2))[0]
    unit = contribution.argmin()
    noise = torch.rand(1, 1, DIM, dtype=torch.float64)
    changed, after = replace_units(tensors, statistics_of(age=9), activity, noise, config)
    assert after.age[0].tolist() == [0 if i == unit else 10 for i in range(HIDDEN)]
    output, fresh = block_output(parameters_of(changed), features, "relu")
    lost = hidden[:, unit, None] * tensors["block.w_out"][0, unit]
    assert lost.abs().max() > 0.01
    torch.testing.assert_close(output, before - lost, rtol=0, atol=1e-12)
    others = [i for i in range(HIDDEN) if i != unit]
    assert torch.equal(fresh[:, others], hidden[:, others])
    for name, value in tensors.items():
        axis = 2 if name.endswith("w_in") else 1
        kept = torch.tensor(others)
        assert torch.equal(changed[name].index_select(axis, kept), value.index_select(axis, kept))
        if name.startswith("adam."):
            assert changed[name].select(axis, unit).eq(0).all()


@pytest.mark.parametrize("config", [CBPConfig(0.0, 0), CBPConfig(0.5, 1000)])
def test_without_a_replacement_every_tensor_keeps_its_bits(config):
    tensors, statistics = random_tensors(), statistics_of()
    noise = torch.rand(config.max_replacements(HIDDEN), 1, DIM)
    changed = tensors
    for _ in range(20):
        changed, statistics = replace_units(
            changed, statistics, torch.rand(1, HIDDEN).double(), noise, config
        )
    assert changed.keys() == tensors.keys()
    assert all(torch.equal(changed[name], value) for name, value in tensors.items())
    assert statistics.age.eq(20).all()
