"""The installed engines learn, correct and say what was written down: the same bundle and pictures.

What is compared with is in the folder that CBPNET_VECTORS names, which

    python android_demo/conformance/write_vectors.py FOLDER

wrote where torch and the exporter are: bundles that its last step held against PyTorch, and what
the engine executorch learnt from them. Nothing here needs torch, so that in an environment
without it the other engine is held against that.
"""

import json
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from cbpnet.host.arrays import Array
from cbpnet.host.errors import InputError
from cbpnet.method.layout import MethodName
from mobile.device.engines.choice import ENGINE_VARIABLE, ENGINES, choose_engine
from mobile.device.engines.engine import LoadedProgram
from mobile.device.program import Program
from mobile.device.runtime import OnDeviceLearner

from .conftest import skip_unless_installed


@dataclass(frozen=True)
class Limits:
    """Of a state's tensor, relative to its largest number, and of a probability."""

    state: float
    probability: float


# The farthest are the logarithms of likelihoods that nearly cancel.
FP32 = Limits(5e-3, 1e-4)
# In int8 other kernels, of another processor or of another ExecuTorch, round a tie otherwise, and
# Adam makes a step of it. What was written down is the engine executorch's, of x86-64.
SAME_KERNELS = Limits(5e-4, 1e-4)
OTHER_KERNELS = Limits(2e-2, 5e-3)


@dataclass(frozen=True)
class Apart:
    """How far what was learnt and said is from what was written down, and in which tensor most."""

    state: float
    tensor: str
    probability: float
    answers: int
    agreeing: int


def replay(course: Path, folder: Path) -> Apart:
    """Teach a course's lessons and correct them, and compare after each."""
    content = json.loads((course / "lessons.json").read_text())
    host = OnDeviceLearner(course / "bundle.pte")
    states: dict[str, float] = {}
    probabilities: list[float] = []
    agreeing: list[bool] = []
    for step, file, predictions in _played(host, course, content):
        host.save(folder / "state.safetensors")
        found, expected = load_file(folder / "state.safetensors"), load_file(course / file)
        states |= {
            f"{name} after {step}": distance
            for name, distance in _distances(found, expected).items()
        }
        for written in predictions:
            (said,) = host.predict(course / written["picture"])
            ranking = {label: float(value) for label, value in written["ranking"]}
            probabilities += [abs(ranking[label] - value) for label, value in said.ranking]
            agreeing.append(said.label == written["ranking"][0][0])
    tensor = max(states, key=states.__getitem__)
    return Apart(states[tensor], tensor, float(np.max(probabilities)), len(agreeing), sum(agreeing))


def _played(
    host: OnDeviceLearner, course: Path, content: dict[str, Any]
) -> Iterator[tuple[str, str, list[dict[str, Any]]]]:
    """Play a course, and yield each step with the file of its state and what was said then."""
    for number, lesson in enumerate(content["lessons"]):
        pictures = _paths(course, lesson["pictures"])
        host.learn(pictures, content["epochs"], content["batch_size"], task=lesson["joined_task"])
        yield f"lesson {number + 1}", f"state_{number}.safetensors", lesson["predictions"]
    for number, correction in enumerate(content["corrections"]):
        given = {
            key: value for key, value in correction.items() if key not in ("do", "predictions")
        }
        if "images" in given:
            given["images"] = _paths(course, given["images"])
        getattr(host, correction["do"])(**given)
        step = f"correction {number + 1}, {correction['do']}"
        yield step, f"corrected_{number}.safetensors", correction["predictions"]


def _paths(course: Path, files: Any) -> Any:
    if isinstance(files, dict):
        return {label: _paths(course, few) for label, few in files.items()}
    return [course / file for file in files]


def _distances(found: Mapping[str, Array], expected: Mapping[str, Array]) -> dict[str, float]:
    assert found.keys() == expected.keys()
    return {name: _distance(found[name], value) for name, value in expected.items()}


def _distance(found: Array, expected: Array) -> float:
    if np.array_equal(
        found, expected
    ):  # of which a threshold may be infinite, and none may be there
        return 0.0
    apart = np.abs(found.astype(np.float64) - expected.astype(np.float64)).max()
    return float(apart / max(np.abs(expected).max(), 1e-30))


def conforms(course: Path, apart: Apart) -> bool:
    limits = FP32
    if course.name.endswith("int8"):
        same = choose_engine().name == "executorch" and platform.machine() == "x86_64"
        limits = SAME_KERNELS if same else OTHER_KERNELS
    return (
        apart.state <= limits.state
        and apart.probability <= limits.probability
        and apart.agreeing == apart.answers
    )


def test_an_engine_learns_and_says_what_was_written_down(
    engine: str, course: Path, tmp_path: Path
) -> None:
    apart = replay(course, tmp_path)
    assert conforms(course, apart), apart


def looked_at(course: Path, engine: str) -> dict[str, Array]:
    """What a bundle's backbone makes of noise, with the state that it came with."""
    program = Program(course / "bundle.pte")
    assert program.engine.name == engine
    method: MethodName = "features" if program.manifest.config.one_pass else "query"
    state = program.call("initial_state", {})
    (images,) = (one for one in program.manifest.methods[method].inputs if one.name == "images")
    noise = np.random.default_rng(0).standard_normal(images.shape, dtype=np.float32)
    return program.call(method, state | {"images": noise})


def test_where_both_are_installed_they_see_the_same_to_the_bit(
    course: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for name in ENGINES:
        skip_unless_installed(name)
        monkeypatch.setenv(ENGINE_VARIABLE, name)
        found.append(looked_at(course, name))
    assert found[0].keys() == found[1].keys()
    assert all(np.array_equal(found[0][name], found[1][name]) for name in found[0])


class Flipped:
    """A program whose engine turns the signs of the first arrays that a method gives."""

    def __init__(self, program: LoadedProgram, method: str, count: int) -> None:
        self._program, self._method, self._count = program, method, count

    def __getattr__(self, name: str) -> Any:
        return getattr(self._program, name)

    def run(self, method: str, arrays: Sequence[Array]) -> list[Array]:
        outputs = self._program.run(method, arrays)
        if method == self._method:
            for output in outputs[: self._count]:  # unknown classes have a score of -inf
                np.negative(output, out=output, where=np.isfinite(output))
        return outputs


# Of what `predict` gives, learners read the first or the second.
@pytest.mark.parametrize(("method", "count"), [("gradients", 1), ("observe", 1), ("predict", 2)])
def test_a_sign_that_an_engine_turns_is_found(
    engine: str,
    course: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    count: int,
) -> None:
    chosen = choose_engine(engine)
    load = chosen.load
    monkeypatch.setattr(chosen, "load", lambda path: Flipped(load(path), method, count))
    try:
        conformed = conforms(course, replay(course, tmp_path))
    except InputError:  # what is counted with its sign turned is a state that cannot be
        conformed = False
    assert not conformed
