import dataclasses
import errno
import hashlib
import itertools
import json
import os
import random
import re
import signal
import sys

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save

from cbpnet.data.preprocessing import Preprocessing
from cbpnet.host.atomic import write_atomically
from cbpnet.host.errors import InputError
from cbpnet.method.config import (
    BlockConfig,
    HeadConfig,
    LearnerConfig,
    OptimiserConfig,
    PromptConfig,
)
from cbpnet.method.state import HostState
from cbpnet.run import state_file
from cbpnet.run.state_file import load_state, save_state
from cbpnet.run.state_info import StateInfo, check_fit

INFO = StateInfo(
    backbone="vit_micro_patch8_32",
    weights="0123456789abcdef",
    dim=8,
    preprocessing=Preprocessing(32, (0.5, 0.25, 1 / 3), (0.5, 0.1, 0.7), "bilinear", 0.9),
    config=LearnerConfig(
        PromptConfig(g_layers=(0,), g_length=2, e_layers=(1, 3), e_length=1),
        BlockConfig(3, "classification", 0.1, "relu"),
        head=HeadConfig("linear", scale=1 / 7),
        optimiser=OptimiserConfig(max_norm=float("inf")),
    ),
    classes=4,
    tasks=2,
    class_names=("apple", "Apple", "ö \N{SNOWMAN}", '"'),
    progress={"seed": 3, "finished": [0, 1], "note": {"resumed": None, "loss": 0.1}},
)


def random_state(info=INFO, seed=0, dtype=np.float32):
    generator = np.random.default_rng(seed)
    tensors = {name: generator.normal(size=shape) for name, shape in info.layout.items()}
    counted = {"classes.count": 3, "classes.task": 0, "tasks.known": 1, "tasks.current": 0}
    for name, value in {**counted, "adam.step": 7}.items():
        tensors[name][:] = value
    return HostState(info.layout, {name: value.astype(dtype) for name, value in tensors.items()})


def bits(state):
    return {name: value.tobytes() for name, value in state.items()}


def parts(path):
    with safe_open(path, "numpy") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118


def checksum(info, tensors):
    """The documented checksum, written again."""
    content = info.encode()
    for name, value in sorted(tensors.items()):
        content += name.encode() + value.tobytes()
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "state.safetensors"
    save_state(path, random_state(), INFO)
    return path


@pytest.mark.parametrize("block", [None, INFO.config.block])
def test_round_trip_is_exact(tmp_path, block):
    info = dataclasses.replace(INFO, config=dataclasses.replace(INFO.config, block=block))
    state = random_state(info)
    special = [-0.0, 1e-45, -1e-45, 3.4e38, -3.4e38, 1 / 3]
    rows = np.tile(np.array([*special, 1.0, 2.0], np.float32), (4, 1))
    state = state.replace({"head.weight": rows})
    save_state(tmp_path / "state", state, info)
    loaded, found = load_state(tmp_path / "state")
    assert found == info
    assert list(loaded) == list(state)
    assert bits(loaded) == bits(state)


def test_views_and_tensors_that_share_memory_are_saved(tmp_path):
    shared = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
    state = random_state().replace(
        {"head.weight": shared.T, "adam.m.head.weight": shared.T, "classes.mean": shared.T}
    )
    save_state(tmp_path / "state", state, INFO)
    assert bits(load_state(tmp_path / "state")[0]) == bits(state)


def test_the_file_is_what_its_documentation_says(path):
    tensors, metadata = parts(path)
    assert metadata.keys() == {"format", "format_version", "info", "sha256"}
    assert metadata["format"] == "cbpnet-mobile learner state"
    assert metadata["format_version"] == "3"
    assert metadata["sha256"] == checksum(metadata["info"], tensors)
    info = json.loads(metadata["info"])
    assert info["config"]["block"] == dataclasses.asdict(INFO.config.block)
    assert info["class_names"] == list(INFO.class_names)


def test_loaded_tensors_do_not_follow_the_file(path):
    loaded, _ = load_state(path)
    before = bits(loaded)
    with path.open("r+b") as file:
        file.write(b"\0" * path.stat().st_size)
    assert bits(loaded) == before


@pytest.mark.parametrize("name", ["missing", "."])
def test_a_missing_file_is_named(tmp_path, name):
    with pytest.raises(InputError, match=r"^state file .* does not exist or is not a file$"):
        load_state(tmp_path / name)


@pytest.mark.parametrize("kept", [0.0, 0.001, 0.02, 0.4, 0.99, -1])
def test_a_truncated_file_is_refused(path, kept):
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content)) if kept >= 0 else -1])
    with pytest.raises(InputError, match=r"^state file .* cannot be read as safetensors, it is tr"):
        load_state(path)


@pytest.mark.parametrize("content", [b"PK\3\4 a zip file " * 50, b"{}", b"hello\n" * 100])
def test_a_file_of_another_format_is_refused(path, content):
    path.write_bytes(content)
    with pytest.raises(InputError, match="cannot be read as safetensors"):
        load_state(path)


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}, {"format": "cbpnet"}])
def test_foreign_safetensors_are_refused(path, metadata):
    path.write_bytes(save({"head.weight": np.zeros((4, 8), np.float32)}, metadata))
    name = metadata["format"] if metadata else None
    message = f"is no learner state: its format is {name!r}, it must be 'cbpnet-mobile learner"
    with pytest.raises(InputError, match=re.escape(message)):
        load_state(path)


def test_a_newer_version_is_refused_even_where_nothing_else_is_known(path):
    path.write_bytes(save({}, {"format": "cbpnet-mobile learner state", "format_version": "4"}))
    message = r"has format version 4; this version of cbpnet-mobile reads version 3$"
    with pytest.raises(InputError, match=message):
        load_state(path)


def test_any_flipped_bit_is_found(path):
    content = path.read_bytes()
    header = 8 + int.from_bytes(content[:8], "little")
    rng = random.Random(0)
    places = rng.sample(range(header), 200) + rng.sample(range(header, len(content)), 40)
    for place in places:
        damaged = bytearray(content)
        damaged[place] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"^state file [^\n]*$"):
            load_state(path)


def test_a_flipped_bit_in_tensors_or_info_is_called_damage(path):
    content = path.read_bytes()
    for place in (len(content) - 1, content.index(b"vit_micro"), content.index(b"hidden") + 12):
        damaged = bytearray(content)
        damaged[place] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="is damaged: its checksum does not match; use an in"):
            load_state(path)


def test_exchanged_tensors_are_found(path):
    tensors, metadata = parts(path)
    m, v = "adam.m.head.weight", "adam.v.head.weight"
    path.write_bytes(save(tensors | {m: tensors[v], v: tensors[m]}, metadata))
    with pytest.raises(InputError, match="is damaged"):
        load_state(path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"head.weight": None}, "state tensor 'head.weight' is missing"),
        ({"head.more": np.zeros(1, np.float32)}, "state tensor 'head.more' is unknown"),
        (
            {"head.weight": np.zeros((8, 4), np.float32)},
            "'head.weight' is (8, 4), the layout says (4, 8)",
        ),
        (
            {"adam.step": np.zeros(1, np.float64)},
            "'adam.step' is float64; it must be float32",
        ),
        ({"adam.step": np.zeros(1, np.int32)}, "'adam.step' is int32; it must be float32"),
        (
            {"adam.step": np.zeros((), np.float32)},
            "state tensor 'adam.step' is (), the layout says (1,)",
        ),
    ],
)
def test_tensors_that_do_not_fit_their_own_settings_are_refused(forge, path, change, reason):
    tensors = {n: t for n, t in (parts(path)[0] | change).items() if t is not None}
    forge(path, tensors)
    with pytest.raises(InputError, match=f"^state file .* contradicts .*{re.escape(reason)}"):
        load_state(path)


@pytest.mark.parametrize(
    ("place", "value", "reason"),
    [
        (("config", "block", "gate"), 3.0, "block.gate is 3.0; it must be in (0, 1]"),
        (
            ("config", "block", "colour"),
            "red",
            "config.block: object contains unknown field `colour`",
        ),
        (
            ("config", "head"),
            {"kind": "linear"},
            "config.head: object missing required field `scale`",
        ),
        (("config", "cbp", "maturity"), 100.5, "config.cbp.maturity: expected `int`, got `float`"),
        (("config", "block"), 7, "config.block: expected `object | null`, got `int`"),
        (("dim",), 16, "the layout says"),
    ],
)
def test_an_info_that_is_no_learners_is_refused(forge, path, place, value, reason):
    info = json.loads(parts(path)[1]["info"])
    *groups, last = place
    group = info
    for name in groups:
        group = group[name]
    group[last] = value
    forge(path, info=json.dumps(info))
    with pytest.raises(InputError, match=f"^state file .* contradicts .*{re.escape(reason)}"):
        load_state(path)


@pytest.mark.parametrize("text", ["", "no json", "[]", "3"])
def test_an_info_that_is_no_object_is_refused(forge, path, text):
    forge(path, info=text)
    with pytest.raises(InputError, match="contradicts"):
        load_state(path)


@pytest.mark.parametrize(
    "state", [random_state(dtype=np.float64), random_state(dataclasses.replace(INFO, tasks=3))]
)
def test_a_state_that_its_info_does_not_describe_is_not_written(path, state):
    before = path.read_bytes()
    with pytest.raises(ValueError, match="state tensor"):
        save_state(path, state, INFO)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"backbone": "vit_tiny_patch16_224"},
            "backbone 'vit_micro_patch8_32', this learner has 'v",
        ),
        ({"weights": "f" * 16}, "weights '0123456789abcdef', this learner has 'ffffffffffffffff'"),
        ({"dim": 192}, "dim 8, this learner has 192"),
        ({"classes": 100}, "classes 4, this learner has 100"),
        ({"tasks": 1}, "tasks 2, this learner has 1"),
        (
            {"preprocessing": dataclasses.replace(INFO.preprocessing, image_size=224)},
            "preprocessing.image_size 32, this learner has 224",
        ),
        (
            {"config": dataclasses.replace(INFO.config, block=None)},
            "config.block BlockConfig(hidden=3, objective='classification', gate=0.1, activati",
        ),
        (
            {
                "config": dataclasses.replace(
                    INFO.config, block=BlockConfig(3, "classification", 1.0, "relu")
                )
            },
            "config.block.gate 0.1, this learner has 1.0; they must be equal",
        ),
    ],
)
def test_another_backbone_or_learner_is_refused_with_both_names(changes, message):
    with pytest.raises(InputError, match=f"^the state was made with {re.escape(message)}"):
        check_fit(INFO, dataclasses.replace(INFO, **changes))


def test_other_names_and_progress_fit(path):
    check_fit(load_state(path)[1], dataclasses.replace(INFO, class_names=(), progress={}))


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failure_leaves_the_last_good_state(path, monkeypatch, step):
    def fail(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(*((os, "fsync") if step == "fsync" else (type(path), "replace")), fail)
    with pytest.raises(InputError, match=r"cannot write .*state.safetensors: No space left"):
        save_state(path, random_state(seed=1), INFO)
    assert bits(load_state(path)[0]) == bits(random_state())
    assert list(path.parent.iterdir()) == [path]


def kill_after(calls):
    """Have this process killed when it has come so far: before or after what changes files."""
    changing = {"open", "write", "flush", "fsync", "fchmod", "flock", "link", "replace", "unlink"}

    def count_down(frame, event, called):
        nonlocal calls
        calls -= event in ("c_call", "c_return") and called.__name__ in changing
        if not calls:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(count_down)


def test_killed_at_any_moment_the_file_is_the_old_state_or_the_new_one(path, monkeypatch):
    """Each process that writes is killed one moment later than the one before, until one ends."""
    before, (old, info) = path.read_bytes(), load_state(path)
    new = random_state(seed=1)
    found = []
    for calls in itertools.count(1):

        def write(*content, calls=calls):
            kill_after(calls)
            write_atomically(*content)
            os._exit(0)

        path.write_bytes(before)
        child = os.fork()
        if not child:
            monkeypatch.setattr(state_file, "write_atomically", write)
            try:
                save_state(path, new, info)
            finally:
                os._exit(1)
        status = os.waitpid(child, 0)[1]
        found.append(bits(load_state(path)[0]))
        if status != signal.SIGKILL:
            break
    assert status == 0
    renewed = found.index(bits(new))
    assert found == [bits(old)] * renewed + [bits(new)] * (len(found) - renewed)
    assert renewed > 20
