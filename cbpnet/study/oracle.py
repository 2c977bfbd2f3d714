"""What carrying statistics over a drift could reach at most: a study, no learner of a device."""

from cbpnet.data.stream import Task
from cbpnet.run.lesson import count_anew, may_adapt
from cbpnet.run.one_pass_contender import OnePassContender
from cbpnet.run.protocol import Learnt, TaskAccuracy
from cbpnet.run.training import Progress

__all__ = ["OracleContender"]


class OracleContender:
    """A one-pass contender all of whose statistics are counted anew after each adaptation.

    They are counted from the images of all tasks so far, which no device has. Progress counts those
    images too.
    """

    def __init__(self, contender: OnePassContender) -> None:
        self._contender = contender

    @property
    def finished(self) -> int:
        """The number of finished tasks."""
        return self._contender.finished

    def images_to_come(self) -> int:
        """Return the most images that `run_protocol` will count."""
        contender = self._contender
        adaptation = contender.learner.config.adaptation
        counted, known, others = 0, 0, 0
        adapted = bool(contender.state["lessons.adapted"] > 0)
        for task in contender.stream.tasks:
            known, classes = known + len(task.train), len(task.classes)
            if task.index >= self.finished and may_adapt(adaptation, classes, others, adapted):
                counted, adapted = counted + known, True
            others += classes
        return contender.images_to_come() + counted

    def learn(self, task: Task, progress: Progress = lambda images: None) -> Learnt:
        """Learn the next task; after a failure or an interruption nothing has been learnt."""
        contender, before = self._contender, (self._contender.state, self.finished)
        try:
            learnt = contender.learn(task, progress)
            if learnt.decision and learnt.decision.adapts:
                known = contender.stream.tasks[: self.finished]
                state = count_anew(
                    contender.learner,
                    contender.state,
                    (contender.images(one) for one in known),
                    contender.preprocessing,
                    progress,
                )
                contender.go_on(state, self.finished)
                counted = sum(len(one.train) for one in known)
                learnt = Learnt(learnt.forwards + counted, learnt.decision)
        except BaseException:
            contender.go_on(*before)
            raise
        return learnt

    def classify(self, task: Task, progress: Progress = lambda images: None) -> TaskAccuracy:
        """Return how a finished task's test images are classified."""
        return self._contender.classify(task, progress)
