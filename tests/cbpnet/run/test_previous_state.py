"""The state before the newest: when it is read, and what becomes of a damaged newest one."""

import dataclasses
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from cbpnet.data.preprocessing import Preprocessing
from cbpnet.host.errors import InputError
from cbpnet.host.random_streams import RandomStream
from cbpnet.method.config import LearnerConfig, PromptConfig
from cbpnet.method.initial import draw_state
from cbpnet.run.previous_state import damaged_path, previous_path, state_exists
from cbpnet.run.state_file import load_state, read_info, save_state
from cbpnet.run.state_info import StateInfo

CONFIG = LearnerConfig(PromptConfig((0,), 1, (1,), 1))
PREPROCESSING = Preprocessing(32, (0.5, 0.25, 1 / 3), (0.5, 0.1, 0.7), "bilinear", 0.9)
INFO = StateInfo("vit", "0123456789abcdef", 4, PREPROCESSING, CONFIG, 3, 2, (), {})


def numbered(number):
    return draw_state(CONFIG, 4, 3, 2, RandomStream(number, 0)), dataclasses.replace(
        INFO, progress={"generation": number}
    )


@pytest.fixture
def path(tmp_path):
    """A state that was saved twice."""
    path = tmp_path / "state"
    for number in (1, 2):
        save_state(path, *numbered(number))
    return path


def same(found, number):
    state, info = numbered(number)
    return found[1] == info and all(np.array_equal(v, found[0][n]) for n, v in state.items())


def test_saving_keeps_the_state_before_bit_for_bit(path):
    assert same(load_state(path), 2)
    assert same(load_state(previous_path(path)), 1)
    before = path.read_bytes()
    save_state(path, *numbered(3))
    assert previous_path(path).read_bytes() == before
    assert {each.name for each in path.parent.iterdir()} == {"state", "state.1"}


def test_any_flipped_bit_is_answered_by_the_state_before(path):
    """Every 7th byte, a bit drawn at random; the version's digit alone may be taken at its word."""
    content, rng = path.read_bytes(), random.Random(0)
    digit = content.index(b'"format_version":"3"') + 18
    places = [place for place in range(0, len(content), 7) if place != digit]
    assert len(places) > 300
    for place in places:
        damaged, said = bytearray(content), []
        damaged[place] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        found = load_state(path, said.append)
        assert same(found, 1)
        assert said == [
            f"state file {path} is damaged: {previous_path(path)}, which was saved before it, is "
            "used in its place; teach again what was learnt since"
        ]


@pytest.mark.parametrize("size", [0, 5, 8, 9, 500, -1])
def test_half_a_file_is_answered_by_the_state_before(path, size):
    path.write_bytes(path.read_bytes()[:size])
    with pytest.warns(UserWarning, match=r"is damaged: .*state\.1, which was saved before it"):
        assert same(load_state(path), 1)


def other_version(path):
    path.write_bytes(save({}, {"format": "cbpnet-mobile learner state", "format_version": "4"}))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (other_version, "has format version 4"),
        (lambda path: path.write_bytes(save({}, {"format": "pt"})), "is no learner state"),
        (lambda path: (path.unlink(), path.mkdir()), "does not exist or is not a file"),
        (Path.unlink, r"does not exist, and .*state\.1, which was saved before it, does; rename"),
    ],
)
def test_what_is_no_damage_is_refused(path, change, reason):
    change(path)
    with pytest.raises(InputError, match=reason):
        load_state(path)


def test_two_damaged_states_are_refused_in_the_newest_ones_name(path):
    for each in (path, previous_path(path)):
        each.write_bytes(each.read_bytes()[:-1])
    with pytest.raises(InputError, match=rf"^state file {re.escape(str(path))} cannot be read as"):
        load_state(path)


def test_a_damaged_state_is_kept_aside_when_it_is_saved_over(path):
    damaged = path.read_bytes()[:-1]
    path.write_bytes(damaged)
    before = previous_path(path).read_bytes()
    save_state(path, *numbered(3))
    assert damaged_path(path).read_bytes() == damaged
    assert previous_path(path).read_bytes() == before
    assert same(load_state(path), 3)
    save_state(path, *numbered(4))
    assert same(load_state(previous_path(path)), 3)
    path.write_bytes(b"")
    save_state(path, *numbered(5))
    assert damaged_path(path).read_bytes() == b""  # only one
    assert {each.name for each in path.parent.iterdir()} == {"state", "state.1", "state.damaged"}


def test_whether_there_is_a_state_to_go_on_from(tmp_path, path):
    assert state_exists(path)
    assert not state_exists(tmp_path / "new")
    path.unlink()
    with pytest.raises(InputError, match="or remove it to begin anew"):
        state_exists(path)


def test_behind_a_link_the_state_before_stands_beside_the_file(path, tmp_path):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    link = folder / "link"
    link.symlink_to("../state")
    save_state(link, *numbered(3))
    assert link.is_symlink()
    assert same(load_state(path), 3)
    assert same(load_state(previous_path(link)), 2)
    assert list(folder.iterdir()) == [link]
    path.write_bytes(b"")
    with pytest.warns(UserWarning, match="is damaged"):
        assert same(load_state(link), 2)


def test_only_the_header_is_read_for_what_a_state_belongs_to(path):
    content = path.read_bytes()
    length = 8 + int.from_bytes(content[:8], "little")
    path.write_bytes(content[:length])
    assert read_info(path) == numbered(2)[1]
    for size in (0, 7, length // 2):
        path.write_bytes(content[:size])
        with pytest.raises(InputError, match="cannot be read as safetensors"):
            read_info(path)
    path.write_bytes((1 << 40).to_bytes(8, "little") + content[8:])
    with pytest.raises(InputError, match="its header has 1,099,511,627,776 bytes, of at most"):
        read_info(path)


AGAIN = """
import sys
from pathlib import Path
from cbpnet.run.state_file import load_state, save_state
from cbpnet.method.state import HostState
import dataclasses

state, info = load_state(Path(sys.argv[1]))
turned = dict(reversed(info.progress.items()))
save_state(Path(sys.argv[2]), state, dataclasses.replace(info, progress=turned))
"""


@pytest.mark.parametrize("seed", ["0", "1", "2"])
def test_the_same_state_makes_the_same_bytes_in_any_process(tmp_path, seed):
    first, again = tmp_path / "first", tmp_path / "again"
    state, info = numbered(1)
    save_state(first, state, dataclasses.replace(info, progress={"b": {"d": 1, "c": 2}, "a": [3]}))
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    subprocess.run([sys.executable, "-c", AGAIN, first, again], check=True, env=environment)
    assert again.read_bytes() == first.read_bytes()


def test_more_lessons_than_a_reader_takes_are_not_written(path):
    before = path.read_bytes()
    state, info = numbered(3)
    long = dataclasses.replace(info, progress={"lessons": ["x" * 1000] * 9000})
    with pytest.raises(InputError, match=r"bytes, of at most 8,388,608; right would be fewer"):
        save_state(path, state, long)
    assert path.read_bytes() == before
