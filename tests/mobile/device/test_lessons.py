"""Which task a label is learnt in, and what does not fit."""

import re

import numpy as np
import pytest

from cbpnet.host.errors import InputError
from cbpnet.host.random_streams import RandomStream
from cbpnet.method.config import BlockConfig, LearnerConfig
from cbpnet.method.initial import draw_state
from mobile.device.lessons import Knowledge, plan_lessons

LABELS = ("cat", "dog", "Maß", "cow", "hen")


def knowledge(task_of_class, tasks=4, classes=8):
    """What is known of the first labels, by the task of each."""
    config = LearnerConfig(block=BlockConfig(2))
    state = draw_state(config, 4, classes, tasks, RandomStream(0, 0))
    known = np.zeros(tasks, np.float32)
    known[list(set(task_of_class))] = 1
    numbers = np.full(classes, -1, np.float32)
    numbers[: len(task_of_class)] = task_of_class
    changed = state.replace({"tasks.known": known, "classes.task": numbers})
    return Knowledge(changed, LABELS[: len(task_of_class)], lessons=0)


@pytest.mark.parametrize(
    ("known", "labels", "task", "plan"),
    [
        ([], ["x", "y"], None, {0: ["x", "y"]}),
        ([0, 0], ["x"], None, {1: ["x"]}),
        ([0, 0], ["dog"], None, {0: ["dog"]}),
        ([0, 1, 0, 2], ["cow", "cat", "x", "Maß"], None, {0: ["cat", "Maß"], 2: ["cow"], 3: ["x"]}),
        ([0, 1, 0, 2], ["x", "dog", "y"], 2, {1: ["dog", "x", "y"]}),
        ([0, 1, 0, 2], ["x", "cow"], 1, {0: ["x"], 2: ["cow"]}),
        ([0, 1, 2, 3], ["x"], 4, {3: ["x"]}),
    ],
)
def test_known_classes_are_learnt_in_their_task_and_new_ones_in_the_next(known, labels, task, plan):
    found = plan_lessons(knowledge(known), labels, task)
    assert found == plan
    assert list(found) == sorted(found)


@pytest.mark.parametrize(
    ("known", "labels", "task", "reason"),
    [
        ([0], [], None, "there are no images to learn from"),
        ([0, 0], ["DOG"], None, "class 'DOG' differs from the known class 'dog' in case or Unicod"),
        ([0, 0, 0], ["MASS"], None, "'MASS' differs from the known class 'Maß'"),
        ([0], ["x", "y", "X"], None, "class 'X' differs from another new class 'x'"),
        ([0], ["\u00e9", "e\u0301"], None, "in case or Unicode form only"),
        (
            [0, 1, 0, 2],
            ["1", "2", "3", "4", "5", "6", "cat"],
            None,
            "1, 2, 3, 4, 5 and 1 more: 6 new classes do not fit, 4 of the bundle's 8 are free; "
            "learn fewer, or export with more --classes",
        ),
        (
            [0, 1, 2, 3],
            ["x"],
            None,
            "x: no new task can be begun, all 4 of the bundle are in use; export with more --tasks,"
            " or let the new classes join a known task with task=N (--task N), N from 1 to 4",
        ),
        ([0, 1], ["x"], 3, "task 3 is not one of the 2 known tasks, counted from 1"),
        ([0, 1], ["x"], 0, "task 0 is not one of the 2 known tasks"),
        ([], ["x"], 1, "task 1 is not one of the 0 known tasks"),
        ([0, 1], ["dog"], 1, "task 1 was named for new classes, and there are none"),
    ],
)
def test_what_does_not_fit_is_one_sentence(known, labels, task, reason):
    with pytest.raises(InputError, match=re.escape(reason)):
        plan_lessons(knowledge(known), labels, task)
