"""The protocol's order, and its figures against plain loops over made-up accuracies."""

import time
from itertools import pairwise

import numpy as np
import pytest

from cbpnet.data.stream import make_stream
from cbpnet.host.errors import InputError
from cbpnet.run.lesson import Decision
from cbpnet.run.protocol import (
    Learnt,
    ProtocolRecord,
    TaskAccuracy,
    TaskOutcome,
    check_every_task_is_tested,
    run_protocol,
)


class Scripted:
    """A contender that notes what is asked of it; accuracies say which task came when."""

    def __init__(self, finished=0):
        self.finished = finished
        self.calls = []

    def learn(self, task, progress):
        assert task.index == self.finished
        self.calls.append(("learn", task.index))
        self.finished += 1
        progress(len(task.train))
        return Learnt(2 * len(task.train))

    def classify(self, task, progress):
        self.calls.append(("classify", task.index))
        progress(len(task.test))
        return TaskAccuracy(task.index, {"it": self.finished / 10 + task.index / 100})


@pytest.fixture
def stream(picture_dataset):
    return make_stream(picture_dataset(), 2)


def test_every_known_task_is_tested_after_each_is_learnt(stream):
    contender, counts = Scripted(), []
    outcomes = run_protocol(contender, stream, counts.append)
    assert contender.calls == []
    for after, outcome in enumerate(outcomes):
        assert contender.calls == [("learn", after), *(("classify", i) for i in range(after + 1))]
        contender.calls.clear()
        assert [found.task for found in outcome.tested] == list(range(after + 1))
    assert sum(counts) == 35 + 8 + 16 + 20


@pytest.mark.parametrize(
    ("finished", "first", "learnt"), [(0, None, [0, 1, 2]), (2, None, [2]), (2, 1, [2]), (3, 3, [])]
)
def test_a_contender_goes_on_after_what_it_has_learnt(stream, finished, first, learnt):
    contender = Scripted(finished)
    outcomes = list(run_protocol(contender, stream, first=first))
    assert [index for call, index in contender.calls if call == "learn"] == learnt
    assert [one.task for one in outcomes] == list(range(finished if first is None else first, 3))
    assert [one.task for one in outcomes if one.train_seconds is not None] == learnt


def test_seconds_are_those_of_learning_and_of_testing(stream, monkeypatch):
    clock = iter([100.0, 101.0, 101.0, 105.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    outcome = next(run_protocol(Scripted(), stream))
    assert (outcome.train_seconds, outcome.eval_seconds) == (1.0, 4.0)


def record(trained, query_seconds=0.0, learnt=(None, None, None)):
    """Three tasks, the last of one class; accuracies and selections drawn at random."""
    random = np.random.default_rng(1)
    return ProtocolRecord(
        tuple(
            TaskOutcome(
                after,
                tuple(
                    TaskAccuracy(
                        task, {"a": random.random(), "b": random.random()}, random.random()
                    )
                    for task in range(after + 1)
                ),
                learnt[after],
                trained[after],
                eval_seconds=float(after),
                peak_rss_mb=[5.0, 9.0, 7.0][after],
            )
            for after in range(3)
        ),
        query_seconds,
    )


@pytest.mark.parametrize("method", ["a", "b"])
def test_a_result_has_what_the_outcomes_have(stream, method):
    found = record([1.0, 2.0, 4.0], query_seconds=0.5)
    result = found.result(method, stream, seed=3)
    for outcome in found.outcomes:
        for tested in outcome.tested:
            assert result.matrix[outcome.task, tested.task] == tested.accuracy[method]
    assert np.isnan(result.matrix[np.triu_indices(3, 1)]).all()
    assert (result.method, result.seed, result.test_images) == (method, 3, (8, 8, 4))
    assert result.train_seconds == pytest.approx(7.5)
    assert (result.eval_seconds, result.peak_rss_mb) == (3.0, 9.0)
    # Selection is over images: a smaller task counts less.
    shares = [tested.selection for tested in found.outcomes[-1].tested]
    expected = (8 * shares[0] + 8 * shares[1] + 4 * shares[2]) / 20
    assert result.prompt_selection == pytest.approx(expected)


def test_a_task_whose_time_is_lost_is_taken_to_have_been_like_the_others(stream):
    assert record([1.0, None, 2.0]).train_seconds == pytest.approx(4.5)
    assert np.isnan(record([None] * 3).train_seconds)


def test_forwards_are_an_average_over_training_images(stream):
    found = ProtocolRecord(tuple(run_protocol(Scripted(), stream))).result("it", stream, seed=0)
    assert (found.learning_forwards, found.predicting_forwards) == (2.0, 1)
    assert found.lessons_adapted is None


def test_lessons_that_adapted_are_counted(stream):
    reasons = "first", "familiar", "foreign"
    learnt = [Learnt(35, Decision(reason, 0.9, None, 0)) for reason in reasons]
    found = record([1.0] * 3, learnt=learnt).result("a", stream, seed=0)
    assert (found.lessons_adapted, found.learning_forwards) == (2, 3.0)


def test_what_a_resumed_run_does_not_know_is_not_made_up(stream):
    learnt = [Learnt(35, Decision("first", 0.9, None, 0)), None, Learnt(35)]
    found = record([1.0] * 3, learnt=learnt).result("a", stream, seed=0)
    assert (found.lessons_adapted, found.learning_forwards) == (None, None)


def test_a_contender_without_prompts_has_no_selection(stream):
    found = ProtocolRecord(tuple(run_protocol(Scripted(), stream)))
    result = found.result("it", stream, seed=0)
    assert result.prompt_selection is None
    for after, before in pairwise(reversed(range(3))):
        assert result.matrix[after, 0] > result.matrix[before, 0]


def test_a_stream_with_an_untested_task_is_refused(picture_dataset):
    check_every_task_is_tested(make_stream(picture_dataset(), 2))
    with pytest.raises(InputError, match="task 1 of 3 has no test image"):
        check_every_task_is_tested(make_stream(picture_dataset(test=0), 2))
