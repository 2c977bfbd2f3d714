"""Taking turns, ratios pair by pair, shares: against figures worked out by hand."""

import numpy as np
import pytest

from benchmarks.pairs import (
    Bar,
    Call,
    Comparison,
    Samples,
    Spread,
    ratios,
    spread,
    take_turns,
    times,
    update_share,
)
from cbpnet.host.errors import InputError

OURS, THEIRS, SLOW = Call("ours", "step"), Call("theirs", "step"), Call("slow", "step")
OFTEN, RARELY = Comparison(THEIRS, OURS), Comparison(SLOW, OURS, every=2)


def test_the_two_calls_of_a_pair_follow_one_another_in_changing_order():
    called = []

    def measure(call, turn):
        called.append((call.peer, turn))
        return 1.0

    take_turns([OFTEN, RARELY], 3, measure)
    assert called == [
        *(("ours", 0), ("theirs", 0), ("ours", 0), ("slow", 0)),
        *(("theirs", 1), ("ours", 1)),
        *(("ours", 2), ("theirs", 2), ("slow", 2), ("ours", 2)),
    ]


def test_each_pair_keeps_its_own_two_figures():
    clock = iter([1.0, 3.0, 10.0, 2.0, 4.0, 8.0])
    done = []
    samples = take_turns([OFTEN], 3, lambda call, turn: next(clock), done.append)
    assert samples == {OFTEN: Samples(over=(3.0, 10.0, 8.0), under=(1.0, 2.0, 4.0))}
    assert done == [1, 1, 1]


def test_the_ratio_is_the_median_of_ratios_and_not_the_ratio_of_medians():
    samples = Samples(over=(3.0, 10.0, 8.0), under=(1.0, 2.0, 16.0))
    found = ratios(samples)
    assert found.median == 3.0  # of 3, 5 and 0.5; the medians are 8 and 2
    assert found.p5 == pytest.approx(0.5 + 0.1 * 2.5)  # a tenth of the way from 0.5 to 3
    assert found.p95 == pytest.approx(3.0 + 0.9 * 2.0)
    assert found.count == 3


def test_a_pair_without_its_other_half_is_an_error():
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        ratios(Samples(over=(1.0, 2.0), under=(1.0,)))


def test_percentiles_are_numpys():
    values = np.random.default_rng(1).exponential(size=31)
    found = spread(values.tolist())
    assert [found.p5, found.median, found.p95] == np.percentile(values, [5, 50, 95]).tolist()


def test_a_calls_times_are_gathered_from_all_its_pairs():
    found = times({OFTEN: Samples((5.0,), (1.0,)), RARELY: Samples((9.0,), (3.0,))})
    assert found[OURS].median == 2.0
    assert found[OURS].count == 2
    assert found[THEIRS] == Spread(5.0, 5.0, 5.0, 1)


def test_no_round_is_refused():
    with pytest.raises(InputError, match="rounds is 0; it must be at least 1"):
        take_turns([OFTEN], 0, lambda call, turn: 1.0)


def test_the_share_of_an_update_of_a_quarter_of_an_image_in_a_step_of_eight():
    assert update_share(0.25, 8) == pytest.approx(0.25 / 8.25)
    assert update_share(8.0, 8) == 0.5


@pytest.mark.parametrize(
    ("kind", "figure", "holds"),
    [
        ("at least", 3.0, True),
        ("at least", 2.99, False),
        ("at most", 3.0, True),
        ("at most", 3.01, False),
    ],
)
def test_a_bar_holds_up_to_its_value(kind, figure, holds):
    assert Bar(kind, 3.0).holds(figure) is holds
