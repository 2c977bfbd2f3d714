"""What an application learns with, as a contender of the class-incremental protocol."""

from statistics import fmean

from cbpnet.data.pixels import least_side
from cbpnet.data.stream import Task, TaskStream
from cbpnet.run.lesson import count_forwards
from cbpnet.run.protocol import Learnt, TaskAccuracy
from cbpnet.run.training import FORWARDS_OF_A_STEP, Progress, TrainingConfig
from mobile.device.runtime import OnDeviceLearner

__all__ = ["DeviceContender"]

_FORWARDS = 2  # of the paper's learner to predict: the query, and with prompts


class DeviceContender:
    """An `OnDeviceLearner` on a stream's images; it goes on after the tasks that its bundle knows.

    ``method`` is what it is called in results. Progress counts images as `OnDeviceLearner` does.
    """

    def __init__(
        self,
        method: str,
        device: OnDeviceLearner,
        stream: TaskStream,
        training: TrainingConfig,
        seed: int,
    ) -> None:
        self._method, self._device, self._stream = method, device, stream
        self._training, self._seed = training, seed
        self._least = least_side(device.manifest.preprocessing)

    @property
    def finished(self) -> int:
        """The number of finished tasks."""
        return self._device.known_tasks

    def learn(self, task: Task, progress: Progress = lambda images: None) -> Learnt:
        """Learn the next task, its classes by their names."""
        source, names = self._stream.train_source, self._stream.class_names
        images = {
            names[label]: [
                source.image(int(index), self._least)
                for index in task.train[task.train_labels == label]
            ]
            for label in task.classes
        }
        training, count = self._training, len(task.train)
        (lesson,) = self._device.learn(
            images, training.epochs, training.batch_size, self._seed, progress=progress
        )
        if lesson.decision is None:
            return Learnt(count * (1 + FORWARDS_OF_A_STEP * training.epochs))
        return Learnt(count_forwards(count, lesson.decision), lesson.decision)

    def classify(self, task: Task, progress: Progress = lambda images: None) -> TaskAccuracy:
        """Return how a task's test images are classified among all known classes."""
        source = self._stream.test_source
        images = [source.image(int(index), self._least) for index in task.test]
        found = self._device.predict(images, progress)
        names = [self._stream.class_names[label] for label in task.test_labels]
        right = fmean(one.label == name for one, name in zip(found, names, strict=True))
        config = self._device.manifest.config
        selected = (
            fmean(one.task == task.index + 1 for one in found) if config.prompts.e_layers else None
        )
        forwards = 1 if config.one_pass else _FORWARDS
        return TaskAccuracy(task.index, {self._method: right}, selected, forwards)
