"""A journal in a state file comes back as it was, and one that cannot be is one sentence."""

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
from cbpnet.run.journal import Edit, Journal, Taught
from cbpnet.run.journal_file import journal_json, journal_tensors, read_journal
from cbpnet.run.state_file import load_with_journal, save_state
from cbpnet.run.state_info import StateInfo

CONFIG = LearnerConfig(
    PromptConfig((0,), 1, (), 1),
    readout=ReadoutConfig("means"),
    adaptation=AdaptationConfig("auto"),
)
INFO = StateInfo(
    backbone="vit",
    weights="0123456789abcdef",
    dim=4,
    preprocessing=Preprocessing(32, (0.5, 0.25, 1 / 3), (0.5, 0.1, 0.7), "bilinear", 0.9),
    config=CONFIG,
    classes=3,
    tasks=1,
    class_names=("cat", "dog"),
    progress={},
)


def journal():
    """Two lessons, of which the second is undone, and corrections."""
    start = draw_state(CONFIG, 4, 3, 1, RandomStream(0, 0))
    taught = Taught(
        id="0123456789abcdef",
        time=1_700_000_000,
        source="a folder",
        names=("cat", "dog"),
        counts=(2, 1),
        reason="few classes",
        accuracy=0.5,
        labels=np.array([0, 1, 0], np.int32),
        pictures=np.array([1, 2**63, 3], np.uint64),
        x=RandomStream(0, 1).normal(3, 4).astype(np.float16),
        adapted={},
        drift={},
        kept=(),
    )
    edits = Edit("rename", 1, "cat", "tom"), Edit("relabel", 2, "", "dog", (1, 2**63))
    events = (taught, *edits, Edit("forget", 3, "dog"), dataclasses.replace(taught, id="f" * 16))
    return Journal(start, (), events, head=4)


def write(path):
    made = journal()
    state = made.base.replace({"classes.count": np.array([2, 1, 0], np.float32)})
    info = dataclasses.replace(INFO, progress={"journal": journal_json(made)})
    save_state(path, state, info, journal_tensors(made))


def read(path):
    state, info, arrays = load_with_journal(path)
    return read_journal(info.progress["journal"], arrays, state, info)


def test_a_journal_comes_back_as_it_was(tmp_path):
    write(tmp_path / "state")
    found, wanted = read(tmp_path / "state"), journal()
    assert journal_json(found) == journal_json(wanted)
    tensors = journal_tensors(wanted)
    assert journal_tensors(found).keys() == tensors.keys()
    for name, value in journal_tensors(found).items():
        assert value.dtype == tensors[name].dtype
        assert np.array_equal(value, tensors[name])


@pytest.mark.parametrize(
    ("place", "value", "reason"),
    [
        (("head",), 6, "the journal has 5 events, 6 of them in force"),
        (("head",), 1.5, "head: expected `int`, got `float`"),
        (("settled",), 5, "5 settled"),
        (("limit",), -1, "a limit of -1"),
        (("events",), {}, "events: expected `array`, got `object`"),
        (("events", 0), None, "events[0]: expected `object`, got `null`"),
        (("base_names",), ["cat"], "it knows 0 classes and names 1 of them"),
        (("events", 0, "time"), -1, "event 0 is of second -1 since 1970; right would be from 0"),
        (("events", 1, "time"), 10**18, "event 1 is of second 1000000000000000000 since 1970"),
        (("events", 0, "names"), ["cat", "cat"], "class 1 is called 'cat', as another one is"),
        (("events", 0, "names"), ["cat"], "right would be one of 0 or more for each"),
        (("events", 0, "names"), ["c\x1b", "d"], "has the character '\\x1b'"),
        (("events", 0, "counts"), [1], "has counts (1,) of 2 classes"),
        (("events", 0, "counts"), [1, -1], "has counts (1, -1) of 2 classes"),
        (("events", 0, "counts"), [1, 0.5], "counts[1]: expected `int`, got `float`"),
        (("events", 0, "accuracy"), float("nan"), "has an accuracy of nan; right would be in [0"),
        (("events", 0, "accuracy"), 2, "has an accuracy of 2"),
        (("events", 0, "reason"), "boredom", "reason: invalid enum value 'boredom'"),
        (("events", 0, "reason"), "\ud800", "holds half a character"),
        (("events", 1, "new"), "", "label '' is empty"),
        (("events", 1, "label"), "cat\n", "class 0 is called 'cat\\n'; right would be 'cat'"),
        (("events", 3, "label"), "", "label '' is empty"),
        (("events", 1, "kind"), "burn", "kind: invalid enum value 'burn'"),
        (("events", 2, "pictures"), [-1], "a key of a picture that is no number of 64 bits"),
        (("events", 2, "pictures"), [2**64], "event 2"),
    ],
)
def test_what_a_journal_cannot_say_is_one_sentence(tmp_path, forge, place, value, reason):
    path = tmp_path / "state"
    write(path)
    info = dataclasses.asdict(load_with_journal(path)[1])
    *groups, last = ("progress", "journal", *place)
    group = info
    for name in groups:
        group = group[name]
    group[last] = value
    forge(path, info=json.dumps(info))
    with pytest.raises(InputError, match=re.escape(reason)):
        read(path)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"journal.0.labels": np.array([0, 2, 0], np.int32)}, "has labels from 0 to 2 and 2 cla"),
        ({"journal.0.labels": np.array([0, -1, 0], np.int32)}, "has labels from -1 to 0"),
        ({"journal.0.labels": np.array([0, 1], np.int32)}, "pictures of the journal's event 0 is"),
        ({"journal.0.x": np.full((3, 4), np.nan, np.float16)}, "x of the journal's event 0 is"),
        ({"journal.0.x": np.zeros((3, 5), np.float16)}, "right would be float16 [3, 4]"),
        ({"journal.7.x": np.zeros((3, 4), np.float16)}, "'journal.7.x' is missing or belongs to"),
        ({"journal.x": np.zeros(1, np.float32)}, "'journal.x' is missing or belongs to no event"),
        ({"journal.base.readout.prior": np.full(1, np.nan, np.float32)}, "'readout.prior' holds"),
        ({"journal.base.classes.count": np.full(3, -1, np.float32)}, "holds -1; right would be"),
        ({"journal.base.nothing": np.zeros(1, np.float32)}, "'nothing' is unknown to this learner"),
    ],
)
def test_rows_that_a_journal_cannot_have_are_one_sentence(tmp_path, forge, changes, reason):
    path = tmp_path / "state"
    write(path)
    state, _, arrays = load_with_journal(path)
    forge(path, {**state, **arrays, **changes})
    with pytest.raises(InputError, match=re.escape(reason)):
        read(path)


def test_rows_that_are_not_finite_are_not_written(tmp_path):
    write(tmp_path / "state")
    state, info, arrays = load_with_journal(tmp_path / "state")
    arrays["journal.0.x"] = np.full((3, 4), np.inf, np.float16)
    with pytest.raises(InputError, match=r"'journal\.0\.x' holds inf at \[0, 0\]; right would be"):
        save_state(tmp_path / "state", state, info, arrays)
    read(tmp_path / "state")
