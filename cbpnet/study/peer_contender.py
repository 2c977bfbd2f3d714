"""A closed-form peer as a contender of the class-incremental protocol."""

import torch

from cbpnet.data.stream import Task
from cbpnet.run.protocol import Learnt, TaskAccuracy
from cbpnet.run.queries import Queries
from cbpnet.run.training import Progress
from cbpnet.study.closed_form import Peer

__all__ = ["PeerContender"]


class PeerContender:
    """A peer on the frozen query features of a stream; progress counts its test images.

    Attributes:
        finished: the number of finished tasks.
    """

    def __init__(self, name: str, peer: Peer, queries: Queries) -> None:
        self.finished = 0
        self._name, self._peer, self._queries = name, peer, queries

    def learn(self, task: Task, progress: Progress = lambda images: None) -> Learnt:
        """Learn the next task from its training images' features."""
        features = torch.from_numpy(self._queries.train[task.index])
        self._peer.fit_task(features, torch.from_numpy(task.train_labels))
        self.finished = task.index + 1
        return Learnt(len(features))

    def classify(self, task: Task, progress: Progress = lambda images: None) -> TaskAccuracy:
        """Return how a finished task's test images are classified among all known classes."""
        features = torch.from_numpy(self._queries.test[task.index])
        guesses = self._peer.scores(features).argmax(dim=1)
        right = int((guesses == torch.from_numpy(task.test_labels)).sum())
        progress(len(task.test))
        return TaskAccuracy(task.index, {self._name: right / len(task.test)})
