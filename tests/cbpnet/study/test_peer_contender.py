"""A peer in the protocol learns each task's features once and is a plain count of what is right."""

import numpy as np
import torch

from cbpnet.data.stream import make_stream
from cbpnet.run.protocol import run_protocol
from cbpnet.run.queries import Queries
from cbpnet.study.peer_contender import PeerContender


class Parrot:
    """Notes what it is taught, and takes every image for the class that it was shown last."""

    def __init__(self) -> None:
        self.taught = []

    def fit_task(self, features, labels):
        self.taught.append((features, labels))

    def scores(self, features):
        return torch.eye(5, dtype=torch.float64)[self.taught[-1][1][-1]].expand(len(features), 5)


def test_each_task_is_learnt_once_and_what_is_right_is_counted(picture_dataset) -> None:
    stream = make_stream(picture_dataset(), 2)
    random = np.random.default_rng(0)
    features = [
        tuple(random.random((count, 3), np.float32) for count in counts)
        for counts in ((14, 14, 7), (8, 8, 4))
    ]
    queries, parrot, counts = Queries(*features, train_seconds=1.0), Parrot(), []
    contender = PeerContender("parrot", parrot, queries)
    outcomes = list(run_protocol(contender, stream, counts.append))
    assert contender.finished == 3
    for task, (given, labels) in zip(stream.tasks, parrot.taught, strict=True):
        np.testing.assert_array_equal(given, queries.train[task.index])
        np.testing.assert_array_equal(labels, task.train_labels)
    # The last class of a task is half of it, and all of the last task.
    accuracies = [[found.accuracy["parrot"] for found in one.tested] for one in outcomes]
    assert accuracies == [[0.5], [0.0, 0.5], [0.0, 0.0, 1.0]]
    assert outcomes[0].tested[0].selection is None
    assert sum(counts) == 8 + 16 + 20
