"""Distances of sessions, against distances written down by hand, and their limits."""

import json
import math
import shutil
from dataclasses import replace

import numpy as np
import pytest

from cbpnet.run.state_file import load_state, save_state
from mobile.raspberry_pi.aarch64_check.comparison import Distance, Limits, measure
from mobile.raspberry_pi.aarch64_check.session import ANSWERS, STATE

LIMIT = Limits(state=0.1, agreement=0.9, probability=0.01)
GOOD = Distance({"a": 0.0, "b": 0.1}, True, 0.9, 0.01)


def test_what_is_written_down_is_at_no_distance_from_itself(course, learnt):
    distance = measure(learnt, course)
    assert set(distance.state.values()) == {0.0}
    assert (distance.same_record, distance.agreement, distance.probability) == (True, 1.0, 0.0)
    assert distance.faults() == []


def test_the_distance_of_a_tensor_is_relative_to_its_norm(course, learnt):
    state, info = load_state(learnt / STATE)
    known = next(name for name in state if name.startswith("readout.") and state[name].any())
    changed = {"prompts.g": -state["prompts.g"], known: state[known] * 1.25}
    save_state(learnt / STATE, state.replace(changed), info)
    distance = measure(learnt, course)
    expected = {"prompts.g": 2.0, known: 0.25}
    assert distance.state == {name: pytest.approx(expected.get(name, 0.0)) for name in state}
    assert distance.furthest == "prompts.g"


def test_where_nothing_is_written_down_the_distance_is_absolute(course, learnt, tmp_path):
    other = shutil.copytree(course, tmp_path / "course")
    (path,) = other.glob("state_*")
    state, info = load_state(path)
    save_state(path, state.replace({"prompts.g": state["prompts.g"] * 0}), info)
    expected = np.sqrt(np.square(state["prompts.g"].astype(np.float64)).sum())
    assert measure(learnt, other).state["prompts.g"] == pytest.approx(expected)


def test_other_classes_or_lessons_are_another_record(course, learnt):
    state, info = load_state(learnt / STATE)
    save_state(learnt / STATE, state, replace(info, progress={"lessons": 9}))
    assert not measure(learnt, course).same_record


def test_answers_are_compared_by_picture(course, learnt):
    answers = json.loads((learnt / ANSWERS).read_text())
    picture, answer = next(iter(answers.items()))
    first, second = list(answer)[:2]
    gap = answer[first] - answer[second]
    answer[first], answer[second] = answer[second], answer[first]
    moved = {name: answers[name] for name in reversed(answers)}
    (learnt / ANSWERS).write_text(json.dumps(moved))
    distance = measure(learnt, course)
    assert distance.agreement == pytest.approx(19 / 20), picture
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
