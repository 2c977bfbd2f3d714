import numpy as np
import pytest

from cbpnet.host.errors import InputError
from cbpnet.run.metrics import (
    MethodKind,
    RunResult,
    Statistic,
    accuracy_over_tasks,
    average_accuracy,
    average_incremental_accuracy,
    by_method,
    forgetting,
    learning_accuracy,
    summarise,
)

NAN = np.nan

# Worked out by hand:
#   after each task      0.9, (0.7 + 0.8) / 2 = 0.75, (0.5 + 0.85 + 0.6) / 3 = 0.65
#   average accuracy     0.65
#   incremental          (0.9 + 0.75 + 0.65) / 3 = 2.3 / 3
#   forgetting           task 0: 0.9 - 0.5 = 0.4; task 1: 0.8 - 0.85 = -0.05; mean 0.175
#   learning accuracy    (0.9 + 0.8 + 0.6) / 3 = 2.3 / 3
HAND = np.array([[0.9, NAN, NAN], [0.7, 0.8, NAN], [0.5, 0.85, 0.6]])


def random_matrix(tasks, seed=0):
    matrix = np.random.default_rng(seed).random((tasks, tasks))
    matrix[np.triu_indices(tasks, 1)] = NAN
    return matrix


def run(method="CBPNet", seed=0, matrix=HAND, **changes):
    fields = {
        "test_images": (20,) * len(matrix),
        "prompt_selection": 0.5,
        "train_seconds": 10.0,
        "eval_seconds": 2.0,
        "peak_rss_mb": 500.0,
    }
    return RunResult(method, seed, matrix, **(fields | changes))


def test_metrics_of_a_matrix_worked_out_by_hand():
    assert accuracy_over_tasks(HAND) == pytest.approx([0.9, 0.75, 0.65])
    assert average_accuracy(HAND) == pytest.approx(0.65)
    assert average_incremental_accuracy(HAND) == pytest.approx(2.3 / 3)
    assert forgetting(HAND) == pytest.approx(0.175)
    assert learning_accuracy(HAND) == pytest.approx(2.3 / 3)


def test_forgetting_counts_from_the_best_and_not_from_the_first_accuracy():
    matrix = np.array([[0.5, NAN, NAN], [0.8, 0.6, NAN], [0.4, 0.6, 0.9]])
    assert forgetting(matrix) == pytest.approx((0.8 - 0.4) / 2)


@pytest.mark.parametrize("tasks", [2, 3, 7])
def test_metrics_equal_plain_loops(tasks):
    matrix = random_matrix(tasks)
    last = tasks - 1
    averages = []
    for after in range(tasks):
        averages.append(sum(matrix[after, task] for task in range(after + 1)) / (after + 1))
    drops = []
    for task in range(last):
        drops.append(max(matrix[t, task] for t in range(task, last)) - matrix[last, task])
    assert average_accuracy(matrix) == pytest.approx(averages[-1])
    assert average_incremental_accuracy(matrix) == pytest.approx(sum(averages) / tasks)
    assert forgetting(matrix) == pytest.approx(sum(drops) / last)
    diagonal = [matrix[task, task] for task in range(tasks)]
    assert learning_accuracy(matrix) == pytest.approx(sum(diagonal) / tasks)


def test_one_task_has_nothing_to_forget():
    matrix = np.array([[0.7]])
    assert forgetting(matrix) == 0.0
    assert average_accuracy(matrix) == average_incremental_accuracy(matrix) == 0.7


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.zeros((2, 3)), r"shape \(2, 3\); it must be tasks x tasks"),
        (np.zeros((0, 0)), r"shape \(0, 0\)"),
        (np.array([[0.5, NAN], [0.5, NAN]]), r"after task 1 .* must be in \[0, 1\]"),
        (np.array([[97.0]]), r"after task 0 .*97.0"),
        (np.array([[-0.1]]), r"after task 0 .*-0.1"),
        (np.array([[0.5, 0.0], [0.5, 0.5]]), r"after task 0 .*\[0.0\] for tasks .* must be NaN"),
    ],
)
@pytest.mark.parametrize("metric", [average_accuracy, forgetting, learning_accuracy])
def test_a_matrix_that_is_none_is_refused(matrix, message, metric):
    with pytest.raises(InputError, match=message):
        metric(matrix)


def test_a_run_refuses_a_bad_matrix_and_missing_image_counts():
    with pytest.raises(InputError, match=r"must be in \[0, 1\]"):
        run(matrix=np.array([[2.0]]))
    with pytest.raises(InputError, match=r"CBPNet: test_images is \(20, 20\); .* of the 3 tasks"):
        run(test_images=(20, 20))
    with pytest.raises(InputError, match="at least one image"):
        run(test_images=(20, 0, 20))


def test_summary_has_mean_and_sample_deviation_over_seeds():
    # Average accuracies 0.65, 0.75 and 0.85: mean 0.75, deviation sqrt(0.02 / 2) = 0.1.
    lifted = [HAND.copy(), HAND.copy()]
    lifted[0][2] += 0.1
    lifted[1][2] = [0.7, 1.0, 0.85]
    runs = [
        run(seed=4, trainable_share=0.001, train_seconds=10.0),
        run(seed=7, matrix=lifted[0], trainable_share=0.001, train_seconds=14.0),
        run(seed=9, matrix=lifted[1], trainable_share=0.001, train_seconds=18.0),
    ]
    (summary,) = summarise(runs)
    assert summary.seeds == (4, 7, 9)
    assert summary.average_accuracy.mean == pytest.approx(0.75)
    assert summary.average_accuracy.deviation == pytest.approx(0.1)
    assert summary.train_seconds == Statistic(14.0, pytest.approx(4.0))
    assert summary.trainable_share == Statistic(pytest.approx(0.001), pytest.approx(0.0))
    forgettings = [forgetting(one.matrix) for one in runs]
    assert summary.forgetting.mean == pytest.approx(np.mean(forgettings))
    assert summary.forgetting.deviation == pytest.approx(np.std(forgettings, ddof=1))
    incremental = [average_incremental_accuracy(one.matrix) for one in runs]
    assert summary.average_incremental_accuracy.mean == pytest.approx(np.mean(incremental))
    learnt = [learning_accuracy(one.matrix) for one in runs]
    assert summary.learning_accuracy.mean == pytest.approx(np.mean(learnt))


def test_a_single_seed_has_no_deviation():
    (summary,) = summarise([run(eval_seconds=3.0, peak_rss_mb=7.0)])
    assert summary.average_accuracy == Statistic(pytest.approx(0.65), None)
    assert summary.eval_seconds == Statistic(3.0, None)
    assert summary.peak_rss_mb == Statistic(7.0, None)


def test_what_a_method_does_not_have_is_none():
    (summary,) = summarise([run(prompt_selection=None), run(seed=1, prompt_selection=None)])
    assert summary.prompt_selection is None
    assert summary.trainable_share is None


def test_methods_keep_their_order():
    runs = [run("b"), run("a", kind=MethodKind.CLOSED_FORM), run("b", seed=1)]
    assert [(s.method, s.kind) for s in summarise(runs)] == [
        ("b", MethodKind.GRADIENT),
        ("a", MethodKind.CLOSED_FORM),
    ]
    assert by_method(runs) == {"b": [runs[0], runs[2]], "a": [runs[1]]}
