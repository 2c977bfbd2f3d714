"""What an older state knows is read from its file, whatever its version."""

import hashlib
import json
import re

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save

from cbpnet.data.preprocessing import Preprocessing
from cbpnet.host.errors import InputError
from cbpnet.host.random_streams import RandomStream
from cbpnet.method.config import AdaptationConfig, LearnerConfig, PromptConfig, ReadoutConfig
from cbpnet.method.initial import draw_state
from cbpnet.run.class_means import read_class_means
from cbpnet.run.state_file import load_state, save_state
from cbpnet.run.state_info import StateInfo

ONE_PASS = LearnerConfig(
    PromptConfig((0,), 1, (), 1),
    readout=ReadoutConfig("means"),
    adaptation=AdaptationConfig("auto"),
)
PREPROCESSING = Preprocessing(32, (0.5, 0.25, 1 / 3), (0.5, 0.1, 0.7), "bilinear", 0.9)


def info(config, names=("cat", "dog")):
    return StateInfo("vit", "0123456789abcdef", 4, PREPROCESSING, config, 3, 2, names, {})


PAPER = LearnerConfig()


def write(path, config=PAPER, names=("cat", "dog")):
    state = draw_state(config, 4, 3, 2, RandomStream(0, 0))
    mean = RandomStream(0, 1).normal(*state["classes.mean"].shape)
    count = np.array([5, 2, 0], np.float32)
    state = state.replace({"classes.count": count, "classes.mean": mean})
    if "classes.task" in state:
        task, begun = np.array([0, 0, -1], np.float32), np.array([1, 0], np.float32)
        state = state.replace({"classes.task": task, "tasks.known": begun})
    save_state(path, state, info(config, names))
    return count, mean


def forge(path, version="3", **changes):
    """Rewrite a state file with another version, other info entries or other tensors."""
    with safe_open(path, "numpy") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    found = json.loads(metadata["info"])
    for name, value in changes.items():
        place = tensors if name.startswith("classes.") else found
        place[name] = value
        if value is None:
            del place[name]
    digest = hashlib.sha256(json.dumps(found).encode())
    for name, value in sorted(tensors.items()):
        digest.update(name.encode() + value.tobytes())
    metadata |= {"format_version": version, "info": json.dumps(found), "sha256": digest.hexdigest()}
    path.write_bytes(save(tensors, metadata))


@pytest.mark.parametrize("version", ["1", "2", "3"])
def test_counts_and_means_of_the_known_classes_are_read(tmp_path, version):
    path = tmp_path / "state"
    count, mean = write(path)
    if version != "3":  # older ones knew nothing of what came after them
        forge(path, version, config={"prompts": {"layers": [0]}})
    found = read_class_means(path)
    assert found.class_names == ("cat", "dog")
    assert (found.backbone, found.weights, found.dim) == ("vit", "0123456789abcdef", 4)
    assert found.preprocessing == PREPROCESSING
    assert np.array_equal(found.count, count[:2])
    assert np.array_equal(found.mean, mean[:2])


def test_a_state_of_version_1_is_told_where_to_go(tmp_path):
    path = tmp_path / "state"
    write(path)
    forge(path, "1")
    right = f"`cbpnet-mobile move {path} --bundle BUNDLE --out FILE` takes its classes over"
    with pytest.raises(InputError, match=f"was made by an older cbpnet-mobile.*{re.escape(right)}"):
        load_state(path)


def test_a_state_of_version_2_is_to_be_taught_again(tmp_path):
    path = tmp_path / "state"
    write(path)
    forge(path, "2")
    right = (
        "was made by an older cbpnet-mobile, in format version 2, whose readout was another one; "
        "teach its classes again with a bundle that was exported anew"
    )
    with pytest.raises(InputError, match=f"^{re.escape(f'state file {path} {right}')}$"):
        load_state(path)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"version": "4"}, "has format version 4; this version of cbpnet-mobile reads version 3"),
        ({"class_names": []}, "it knows no class"),
        ({"class_names": ["a", "b", "c"]}, "it names 3 classes and has not the images of each"),
        ({"class_names": list("abcd")}, "it names 4 classes and has not the images of each"),
        ({"class_names": None}, "missing required field `class_names`"),
        ({"dim": 5}, "its tensor 'classes.mean' is not fp32 ['C', 5]"),
        (
            {"classes.count": np.ones((3, 1), np.float32)},
            "its tensor 'classes.count' is not fp32 ['C']",
        ),
        ({"classes.count": np.ones((), np.float32)}, "its tensor 'classes.count' is not fp32"),
        ({"classes.count": np.ones(3, np.float64)}, "its tensor 'classes.count' is not fp32"),
        ({"classes.mean": None}, "its tensor 'classes.mean' is not fp32"),
        ({"classes.mean": np.full((3, 4), np.nan, np.float32)}, "a count or mean is not finite"),
        ({"classes.scatter": np.eye(4, dtype=np.float32)}, "it is a one-pass learner's already"),
    ],
)
def test_what_has_no_means_to_take_over_is_one_sentence(tmp_path, changes, reason):
    path = tmp_path / "state"
    write(path)
    forge(path, **changes)
    with pytest.raises(InputError, match=f"state file {path}.*{re.escape(reason)}"):
        read_class_means(path)


def test_a_one_pass_state_needs_no_move(tmp_path):
    path = tmp_path / "state"
    write(path, ONE_PASS)
    with pytest.raises(InputError, match="go on from it with --state"):
        read_class_means(path)


def test_a_damaged_file_is_called_so(tmp_path):
    path = tmp_path / "state"
    write(path)
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(InputError, match="is damaged: its checksum does not match"):
        read_class_means(path)
