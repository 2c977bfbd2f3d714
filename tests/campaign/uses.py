"""What a person does with a bundle and a state, and the numbers that come back."""

from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from mobile.device.runtime import OnDeviceLearner
from tests.mobile.toy_pictures import toy_pictures

with suppress(ImportError):  # here, once for all trials
    import mobile.device.engines.executorch  # noqa: F401
if find_spec("executorch_numpy_runtime"):
    import executorch_numpy_runtime  # noqa: F401

__all__ = ["use_bundle", "use_state"]


def use_bundle(bundle: Path) -> list[float]:
    """Learn two classes with a bundle, and classify."""
    learner = OnDeviceLearner(bundle)
    learner.learn({"red": toy_pictures("red", 3), "black": toy_pictures("black", 3, 1)}, seed=0)
    return _answers(learner)


def use_state(bundle: Path) -> Callable[[Path], list[float]]:
    """Return what is done with a state: classify, correct, learn more, save and read it again."""

    def use(state: Path) -> list[float]:
        learner = OnDeviceLearner(bundle, state)
        answers = _answers(learner)
        learner.recall()
        learner.undo()
        learner.redo()
        learner.learn({"pink": toy_pictures("pink", 3, 2)}, seed=0)
        answers += _answers(learner)
        copy = state.with_name(f"{state.name}.after")
        learner.save(copy)
        return answers + _answers(OnDeviceLearner(bundle, copy))

    return use


def _answers(learner: OnDeviceLearner) -> list[float]:
    found = learner.predict(toy_pictures("grey", 3, 3))
    return [number for one in found for _, number in one.ranking] + [
        float(one.unknown_score) for one in found if one.unknown_score is not None
    ]
