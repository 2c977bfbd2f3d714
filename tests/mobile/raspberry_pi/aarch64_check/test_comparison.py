"""Distances of sessions, against distances written down by hand, and their limits."""

import json
import math
import shutil
from dataclasses import replace

import numpy as np
import pytest

from cbpnet.run.state_file import load_state, save_state
from mobile.raspberry_pi.aarch64_check.comparison import LIMITS, Distance, Limits, measure
from mobile.raspberry_pi.aarch64_check.session import AFTER, STATE

LIMIT = Limits(state=0.1, agreement=0.9, probability=0.01)
GOOD = Distance({"a": 0.0, "b": 0.1}, True, 0.9, 0.01)


@pytest.fixture
def other(reference, tmp_path):
    """A copy of a session, to be changed."""
    return shutil.copytree(reference / "fp32", tmp_path / "other")


def test_a_session_is_at_no_distance_from_itself(reference):
    distance = measure(reference / "fp32", reference / "fp32")
    assert set(distance.state.values()) == {0.0}
    assert (distance.same_record, distance.agreement, distance.probability) == (True, 1.0, 0.0)
    assert distance.faults(LIMITS["fp32"]) == []


def test_the_distance_of_a_tensor_is_relative_to_its_norm(reference, other):
    state, info = load_state(other / STATE)
    assert not np.isnan(state["adam.m.head.weight"]).any()
    changed = {
        "block.w_in": state["block.w_in"] * 1.25,
        "prompts.g": -state["prompts.g"],
        "tasks.current": state["tasks.current"] * 0,
    }
    save_state(other / STATE, state.replace(changed), info)
    distance = measure(other, reference / "fp32")
    expected = {"block.w_in": 0.25, "prompts.g": 2.0, "tasks.current": 1.0}
    assert distance.state == {name: pytest.approx(expected.get(name, 0.0)) for name in state}
    assert distance.furthest == "prompts.g"
    back = measure(reference / "fp32", other)
    # Where the reference is zero, the distance is absolute: the current task is number 2.
    assert back.state["tasks.current"] == 2.0


def test_other_classes_or_lessons_are_another_record(reference, other):
    state, info = load_state(other / STATE)
    save_state(other / STATE, state, replace(info, progress={"lessons": 3}))
    assert not measure(other, reference / "fp32").same_record


def test_answers_are_compared_by_picture(reference, other):
    answers = json.loads((other / AFTER).read_text())
    picture, answer = next(iter(answers.items()))
    first, second = list(answer)[:2]
    gap = answer[first] - answer[second]
    answer[first], answer[second] = answer[second], answer[first]
    moved = {name: answers[name] for name in reversed(answers)}
    (other / AFTER).write_text(json.dumps(moved))
    distance = measure(other, reference / "fp32")
    assert distance.agreement == pytest.approx(39 / 40), picture
    assert distance.probability == pytest.approx(gap)


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({}, None),
        (
            {"state": {"a": 0.2, "b": 0.1, "c": 0.11}},
            "2 of 3 tensors of the state are off by more than 0.1, a by 0.2",
        ),
        (
            {"state": {"a": 0.0, "b": math.nan, "c": 1.0}},
            "2 of 3 tensors of the state are off by more than 0.1, b by nan",
        ),
        ({"same_record": False}, "the state file names other classes, settings or lessons"),
        ({"agreement": 0.89}, "89.0% of the predictions agree, at least 90% is right"),
        ({"probability": 0.02}, "a probability is off by 0.02, at most 0.01 is right"),
        ({"probability": math.nan}, "a probability is off by nan, at most 0.01 is right"),
    ],
)
def test_a_limit_is_kept_or_named(changed, fault):
    assert replace(GOOD, **changed).faults(LIMIT) == ([] if fault is None else [fault])


def test_a_distance_in_words():
    assert str(GOOD) == (
        "state within 1.0e-01 (b), 90.0% of the predictions agree, probabilities within 1.0e-02"
    )
