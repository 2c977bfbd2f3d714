"""What a state may not hold, whoever wrote it: refused when it is read and when it is written."""

import dataclasses
import json
import re

import numpy as np
import pytest

from cbpnet.data.preprocessing import Preprocessing
from cbpnet.host.errors import InputError
from cbpnet.host.random_streams import RandomStream
from cbpnet.method.config import AdaptationConfig, LearnerConfig, PromptConfig, ReadoutConfig
from cbpnet.method.initial import draw_state
from cbpnet.run.state_file import load_state, save_state
from cbpnet.run.state_info import StateInfo

PREPROCESSING = Preprocessing(32, (0.5, 0.25, 1 / 3), (0.5, 0.1, 0.7), "bilinear", 0.9)
ONE_PASS = LearnerConfig(
    PromptConfig((0,), 1, (), 1),
    readout=ReadoutConfig("means"),
    adaptation=AdaptationConfig("auto"),
)
NAMES = ("cat", "dog")


def made(config):
    """A state of three classes at most, of which two are known, and its info."""
    state = draw_state(config, 4, 3, 2, RandomStream(0, 0))
    changes = {"classes.count": np.array([5, 2, 0], np.float32)}
    if config.one_pass:
        changes |= {"lessons.count": np.full(1, 2, np.float32)}
    else:
        changes |= {
            "classes.task": np.array([0, 0, -1], np.float32),
            "tasks.known": np.array([1, 0], np.float32),
            "tasks.current": np.zeros(1, np.float32),
        }
    info = StateInfo("vit", "0123456789abcdef", 4, PREPROCESSING, config, 3, 2, NAMES, {})
    return state.replace(changes), info


def lies():
    finite = "right would be a finite number"
    for config in (ONE_PASS, LearnerConfig()):
        for name in (name for name, value in made(config)[0].items() if value.size):
            for value in (np.nan, -np.inf, np.inf):
                if (name, value) != ("unknown.threshold", np.inf):
                    yield config, {name: value}, f"state tensor '{name}' holds {value} at [0"
        for value in (-1, 0.5):
            said = f"'classes.count' holds {value:g}; right"
            yield config, {"classes.count": [5, 2, value]}, said
        yield config, {"classes.mean": np.nan}, finite
    for counts, known in (([5, 0, 0], 1), ([5, 2, 1], 3)):
        yield ONE_PASS, {"classes.count": counts}, f"it knows {known} classes and names 2 of them"
    yield ONE_PASS, {"classes.count": [5, 0, 1]}, "class 1 is not known and a later one is"
    yield ONE_PASS, {"lessons.adapted": 3}, "'lessons.adapted' is 3; right would be at most"
    yield ONE_PASS, {"readout.prior": 0}, "'readout.prior' is 0; right would be above 0"
    yield ONE_PASS, {"readout.scale": -1}, "'readout.scale' is -1; right would be above 0"
    for name, value, right in (
        ("tasks.known", 2, "from 0 to 1"),
        ("tasks.current", 1, "from -1 to 0"),
        ("tasks.current", 0.5, "from -1 to 0"),
        ("classes.task", 1e9, "from -1 to 0"),
        ("classes.task", -2, "from -1 to 0"),
        ("adam.step", -1, "of 0 or more"),
    ):
        said = f"state tensor '{name}' holds {value:g}; right would be whole numbers {right}"
        yield LearnerConfig(), {name: value}, said
    yield LearnerConfig(), {"tasks.known": [0, 1]}, "1 of 2 tasks are known; right would be the fir"
    yield LearnerConfig(), {"classes.task": [0, -1, 0]}, "class 1 is not known and a later one is"


LIES = list(lies())


def changed(state, changes):
    arrays = {name: np.empty_like(state[name]) for name in changes}
    for name, value in changes.items():
        arrays[name][...] = value
    return state.replace(arrays)


@pytest.mark.parametrize(("config", "changes", "reason"), LIES)
def test_numbers_that_cannot_be_are_neither_written_nor_read(
    tmp_path, forge, config, changes, reason
):
    path, (state, info) = tmp_path / "state", made(config)
    save_state(path, state, info)
    before = path.read_bytes()
    lie = changed(state, changes)
    with pytest.raises(InputError, match=f"^what is known is not written to .*{re.escape(reason)}"):
        save_state(path, lie, info)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    forge(path, lie)
    with pytest.raises(InputError, match=f"^state file .* contradicts .*{re.escape(reason)}"):
        load_state(path)


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["cat", "cat"], "class 1 is called 'cat', as another one is"),
        (["cat", "dog "], "class 1 is called 'dog '; right would be 'dog'"),
        (["cat", "cafe\u0301"], "class 1 is called 'cafe\u0301'; right would be 'caf\xe9'"),
        (["", "dog"], "class 0's label '' is empty"),
        (["cat", "d\x1bog"], r"class 1's label 'd\x1bog' has the character '\x1b'"),
        (["cat", "d\ud800og"], r"has the character '\ud800'"),
        (["cat", 3], "class_names[1]: expected `str`, got `int`"),
        (["cat", None], "class_names[1]: expected `str`, got `null`"),
        ("cat", "class_names: expected `array`, got `str`"),
        (["cat"], "it knows 2 classes and names 1 of them"),
        (["cat", "dog", "eel"], "it knows 2 classes and names 3 of them"),
    ],
)
def test_names_that_cannot_be_are_refused(tmp_path, forge, names, reason):
    path, (state, info) = tmp_path / "state", made(ONE_PASS)
    save_state(path, state, info)
    forge(path, info=json.dumps(dataclasses.asdict(info) | {"class_names": names}))
    with pytest.raises(InputError, match=f"^state file .* contradicts .*{re.escape(reason)}"):
        load_state(path)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"classes": 10**9}, "the layout says (1000000000"),
        ({"tasks": 10**30, "config": LearnerConfig()}, "the layout says (1000000000"),
        ({"classes": -1}, "the layout says (-1"),
        ({"dim": 1e9}, "dim: expected `int`, got `float`"),
        ({"progress": []}, "progress: expected `object`, got `array`"),
        ({"progress": "[" * 200000 + "]" * 200000}, "it is no JSON: maximum recursion depth"),
    ],
)
def test_sizes_and_depths_cost_nothing(tmp_path, forge, changes, reason):
    path, (state, info) = tmp_path / "state", made(changes.get("config", ONE_PASS))
    save_state(path, state, info)
    found = dataclasses.asdict(info)
    text = json.dumps(found | {n: v for n, v in changes.items() if n != "config"})
    forge(path, info=text.replace('"[[', "[[").replace(']]"', "]]"))
    with pytest.raises(InputError, match=f"^state file .* contradicts .*{re.escape(reason)}"):
        load_state(path)


def test_an_unknown_score_may_be_infinite(tmp_path):
    state, info = made(ONE_PASS)
    assert np.isposinf(state["unknown.threshold"]).all()
    save_state(tmp_path / "state", state, info)
    assert np.isposinf(load_state(tmp_path / "state")[0]["unknown.threshold"]).all()
