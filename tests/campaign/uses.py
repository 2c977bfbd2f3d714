"""What a person does with a bundle and a state, and the numbers that come back."""

from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from mobile.device.runtime import OnDeviceLearner

with suppress(ImportError):  # here, once for all trials
    import mobile.device.engines.executorch  # noqa: F401
if find_spec("executorch_numpy_runtime"):
    import executorch_numpy_runtime  # noqa: F401

__all__ = ["pictures", "use_bundle", "use_state"]


def use_bundle(bundle: Path) -> list[float]:
    """Learn two classes with a bundle, and classify."""
    learner = OnDeviceLearner(bundle)
    learner.learn({"red": pictures(200, 0), "blue": pictures(20, 1)}, seed=0)
    return _answers(learner)


def use_state(bundle: Path) -> Callable[[Path], list[float]]:
    """Return what is done with a state: classify, correct, learn more, save and read it again."""

    def use(state: Path) -> list[float]:
        learner = OnDeviceLearner(bundle, state)
        answers = _answers(learner)
        answers += [float(one.score) for one in learner.recall() if hasattr(one, "score")]
        learner.undo()
        learner.redo()
        learner.learn({"more": pictures(120, 2)}, seed=0)
        answers += _answers(learner)
        copy = state.with_name(f"{state.name}.after")
        learner.save(copy)
        return answers + _answers(OnDeviceLearner(bundle, copy))

    return use


def _answers(learner: OnDeviceLearner) -> list[float]:
    found = learner.predict(pictures(100, 3))
    return [number for one in found for _, number in one.ranking] + [
        float(one.unknown_score) for one in found if one.unknown_score is not None
    ]


def pictures(colour: int, seed: int) -> list[np.ndarray]:
    noise = np.random.default_rng(seed).integers(-30, 30, (3, 10, 12, 3))
    return list(np.clip(noise + colour, 0, 255).astype(np.uint8))
