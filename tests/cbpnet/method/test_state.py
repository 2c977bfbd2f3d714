import numpy as np
import pytest
import torch

from cbpnet.method.state import HostState, LearnerState
from cbpnet.method.tensors import as_tensors

LAYOUT = {"b": (2, 3), "a": (4,)}


def tensors():
    return {"a": torch.randn(4), "b": torch.randn(2, 3)}


def test_iterates_in_the_order_of_the_layout():
    given = tensors()
    state = LearnerState(LAYOUT, given)
    assert list(state) == list(state.keys()) == ["b", "a"]
    assert len(state) == 2
    assert all(state[name] is given[name] for name in given)


def test_does_not_follow_later_changes_of_what_it_was_made_from():
    given = tensors()
    state = LearnerState(LAYOUT, given)
    kept = state["a"]
    given["a"] = torch.zeros(4)
    del given["b"]
    assert state["a"] is kept
    assert "b" in state


def test_entries_cannot_be_set():
    state = LearnerState(LAYOUT, tensors())
    with pytest.raises(TypeError):
        state["a"] = torch.zeros(4)


def test_replacing_exchanges_the_named_and_shares_the_others():
    state = LearnerState(LAYOUT, tensors())
    before, fresh = dict(state), torch.zeros(4)
    after = state.replace({"a": fresh})
    assert after["a"] is fresh
    assert after["b"] is state["b"]
    assert list(after) == ["b", "a"]
    assert all(state[name] is value for name, value in before.items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"a": None}, "state tensor 'a' is missing from this learner's layout"),
        ({"c": torch.zeros(1)}, "state tensor 'c' is unknown to this learner's layout"),
        (
            {"b": torch.zeros(3, 2)},
            r"state tensor 'b' is \(3, 2\), the layout says \(2, 3\)",
        ),
    ],
)
def test_refuses_what_does_not_fit_the_layout(change, message):
    changed = {n: value for n, value in (tensors() | change).items() if value is not None}
    with pytest.raises(ValueError, match=message):
        LearnerState(LAYOUT, changed)


def test_replacing_refuses_an_unknown_name_and_a_wrong_shape():
    state = LearnerState(LAYOUT, tensors())
    with pytest.raises(ValueError, match="'c' is unknown"):
        state.replace({"c": torch.zeros(1)})
    with pytest.raises(ValueError, match=r"'a' is \(5,\), the layout says"):
        state.replace({"a": torch.zeros(5)})


def test_changes_precision_and_counts_bytes():
    state = LearnerState(LAYOUT, tensors())
    double = state.to(torch.float64)
    assert state.bytes == 4 * (6 + 4)
    assert double.bytes == 8 * (6 + 4)
    assert all(torch.equal(double[name], value.double()) for name, value in state.items())


@pytest.mark.parametrize(
    ("tensors", "classes", "tasks"),
    [
        ({"tasks.known": [1, 1, 0], "classes.task": [0, 1, 1, -1], "classes.count": [0] * 4}, 3, 2),
        ({"lessons.count": [7], "classes.count": [5, 1, 0, 2]}, 3, 7),
    ],
)
def test_it_says_how_much_is_known(tensors, classes, tasks):
    given = {name: np.array(values, np.float32) for name, values in tensors.items()}
    state = HostState({name: value.shape for name, value in given.items()}, given)
    for each in (state, as_tensors(state)):
        assert (each.known_classes, each.known_tasks) == (classes, tasks)
        assert each.bytes == 4 * sum(len(values) for values in tensors.values())
