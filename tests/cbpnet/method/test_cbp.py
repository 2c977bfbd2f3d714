import numpy as np
import pytest
import torch

from cbpnet.method.cbp import UnitStatistics, age_units, corrected_utility, select_units
from cbpnet.method.config import CBPConfig

LAYERS, UNITS, WIDTH = 3, 10, 4


def statistics_of(layers, units, dtype=torch.float64):
    return UnitStatistics(
        torch.zeros(layers, units, dtype=dtype),
        torch.zeros(layers, units, dtype=dtype),
        torch.zeros(layers, dtype=dtype),
    )


def run_beside_reference(plain_cbp, config, steps, dtype, seed=0):
    """Yield every step's statistics and chosen units [layer][order], with the references'.

    Activities and outgoing weights are random; a chosen unit's outgoing weights become 0.
    """
    rng = np.random.default_rng(seed)
    rate, maturity, decay = config.replacement_rate, config.maturity, config.decay
    references = [plain_cbp(UNITS, rate, maturity, decay) for _ in range(LAYERS)]
    statistics = statistics_of(LAYERS, UNITS, dtype)
    outgoing = rng.normal(size=(LAYERS, UNITS, WIDTH))
    for _ in range(steps):
        activity = rng.exponential(size=(LAYERS, UNITS))
        outgoing += 0.2 * rng.normal(size=outgoing.shape)
        expected = [
            reference.step(activity[layer], outgoing[layer])
            for layer, reference in enumerate(references)
        ]
        contribution = torch.tensor(activity * np.abs(outgoing).sum(axis=2)).to(dtype)
        aged = age_units(statistics, contribution, config)
        masks, statistics = select_units(aged, config)
        found = [
            [unit for mask in masks for unit in mask[layer].nonzero().flatten().tolist()]
            for layer in range(LAYERS)
        ]
        yield statistics, found, references, expected
        for layer, units in enumerate(expected):
            outgoing[layer, units] = 0


def assert_same_statistics(statistics, references, tolerance):
    for name, found in vars(statistics).items():
        expected = np.array([getattr(reference, name) for reference in references])
        limit = tolerance * (1 + np.abs(expected)) * (name != "age")
        assert (np.abs(found.double().numpy() - expected) <= limit).all(), name


@pytest.mark.parametrize(
    ("rate", "maturity", "decay", "steps", "at_least"),
    [
        (1e-4, 0, 0.99, 3000, 9),
        (1e-3, 100, 0.99, 1500, 30),
        (0.013, 5, 0.9, 1000, 300),
        (0.1, 100, 0.99, 1500, 300),
        (0.3, 5, 0.99, 500, 1000),
        (0.5, 0, 0.5, 500, 5000),
        (1.0, 1, 0.0, 100, 1000),
    ],
)
def test_chooses_the_units_of_the_plain_loops(plain_cbp, rate, maturity, decay, steps, at_least):
    config = CBPConfig(rate, maturity, decay)
    replaced = 0
    for statistics, found, references, expected in run_beside_reference(
        plain_cbp, config, steps, torch.float64
    ):
        assert found == expected
        assert_same_statistics(statistics, references, 1e-6)
        replaced += sum(map(len, found))
    assert replaced >= at_least


@pytest.mark.parametrize(("rate", "maturity"), [(2**-10, 100), (2**-6, 5), (0.5, 5)])
def test_single_precision_follows_double(plain_cbp, rate, maturity):
    """With rates that fp32 holds exactly nothing but the utility is rounded."""
    config = CBPConfig(rate, maturity)
    for statistics, found, references, expected in run_beside_reference(
        plain_cbp, config, 600, torch.float32
    ):
        assert found == expected
        assert_same_statistics(statistics, references, 1e-5)


def test_single_precision_replaces_as_often_as_double(plain_cbp):
    config = CBPConfig(replacement_rate=0.007, maturity=5)
    found_in_all, expected_in_all = np.zeros(LAYERS), np.zeros(LAYERS)
    for _, found, _, expected in run_beside_reference(plain_cbp, config, 1000, torch.float32):
        found_in_all += [len(units) for units in found]
        expected_in_all += [len(units) for units in expected]
        assert np.abs(found_in_all - expected_in_all).max() <= 1
    assert found_in_all.min() > 30


@pytest.mark.parametrize(("rate", "maturity"), [(0.05, 7), (0.4, 20), (1.0, 3)])
def test_an_immature_unit_is_never_replaced(plain_cbp, rate, maturity):
    born = np.zeros((LAYERS, UNITS), int)
    lives = []
    run = run_beside_reference(plain_cbp, CBPConfig(rate, maturity), 400, torch.float32)
    for step, (_, found, _, _) in enumerate(run, start=1):
        for layer, units in enumerate(found):
            lives += [step - born[layer, unit] for unit in units]
            born[layer, units] = step
    assert min(lives) > maturity
    assert min(lives) <= maturity + 10


def test_a_unit_is_mature_only_above_the_threshold():
    config = CBPConfig(replacement_rate=1.0, maturity=3)
    statistics = statistics_of(1, 1)
    replaced_at = []
    for step in range(1, 13):
        aged = age_units(statistics, torch.ones(1, 1), config)
        masks, statistics = select_units(aged, config)
        replaced_at += [step] * int(sum(mask.sum() for mask in masks))
    assert replaced_at == [4, 8, 12]


def test_max_replacements_bounds_every_step(plain_cbp):
    rng = np.random.default_rng(3)
    tight = 0
    for _ in range(100):
        units, maturity = int(rng.integers(1, 30)), int(rng.integers(0, 4))
        rate = float(rng.choice([rng.uniform(), 10 ** -rng.uniform(0, 3), 1.0, 0.5, 1 / units]))
        reference = plain_cbp(units, rate, maturity, 0.9)
        bound = CBPConfig(rate, maturity, 0.9).max_replacements(units)
        most = 0
        for _ in range(60):
            count = len(reference.step(rng.exponential(size=units), np.ones((units, 1))))
            most = max(most, count)
        assert most <= bound
        tight += most == bound
    assert tight > 50


def test_nothing_is_replaced_at_rate_zero():
    config = CBPConfig(replacement_rate=0.0, maturity=0)
    statistics = statistics_of(2, 5)
    assert config.max_replacements(1_000_000) == 0
    for _ in range(50):
        aged = age_units(statistics, torch.rand(2, 5), config)
        masks, statistics = select_units(aged, config)
        assert masks == []
    assert statistics.age.eq(50).all()
    assert statistics.accumulator.eq(0).all()


def test_a_due_replacement_waits_for_a_mature_unit():
    config = CBPConfig(replacement_rate=0.5, maturity=9)
    young = UnitStatistics(torch.ones(1, 4), torch.full((1, 4), 9.0), torch.tensor([1.25]))
    masks, after = select_units(young, config)
    assert sum(mask.sum() for mask in masks) == 0
    assert after.accumulator.item() == 1.25


def test_young_units_are_compared_by_corrected_utility():
    """Unit 1 has the smaller average only because it is young: 0.06 / 0.19 > 0.3 / (1 - 0.9^50)."""
    statistics = UnitStatistics(
        torch.tensor([[0.3, 0.06]]), torch.tensor([[50.0, 2.0]]), torch.tensor([1.0])
    )
    config = CBPConfig(replacement_rate=0.1, maturity=1, decay=0.9)
    torch.testing.assert_close(
        corrected_utility(statistics, config), torch.tensor([[0.3 / (1 - 0.9**50), 0.06 / 0.19]])
    )
    (mask,), _ = select_units(statistics, config)
    assert mask.tolist() == [[1.0, 0.0]]


def test_corrected_utility_of_a_new_unit_is_zero():
    statistics = statistics_of(1, 2)
    assert corrected_utility(statistics, CBPConfig()).tolist() == [[0.0, 0.0]]
