"""What `inspect` says of a state, against what was taught and learners that were taught less."""

import json
import shutil

import pytest
from click.testing import CliRunner

from mobile.cli import main
from mobile.device.runtime import OnDeviceLearner

CLASSES = {"red": ("red", 0), "rouge": ("red", 1), "blue": ("blue", 0), "alone": ("grey", 0)}


def run(*arguments, status=0):
    result = CliRunner().invoke(main, list(map(str, arguments)))
    assert result.exit_code == status, result.output
    return result.output


def taught(bundle, classes):
    """Return a learner with a lesson for each class, none of which adapts."""
    learner = OnDeviceLearner(bundle)
    for label, few in classes.items():
        learner.learn({label: few}, source="photos")
    return learner


@pytest.fixture
def classes(pictures):
    counts = {"red": 5, "rouge": 4, "blue": 4, "alone": 1}
    return {
        label: pictures(colour, counts[label], seed) for label, (colour, seed) in CLASSES.items()
    }


@pytest.fixture
def state(one_pass_bundle, classes, tmp_path):
    """A state whose name does not tell that it is one."""
    path = tmp_path / "pets.pte"
    taught(one_pass_bundle, classes).save(path)
    return path


def test_a_state_is_told_by_its_content_and_says_what_it_holds(one_pass_bundle, state):
    found = json.loads(run("inspect", state, "--json"))
    assert {one["label"]: one["images"] for one in found["classes"]} == {
        "red": 5,
        "rouge": 4,
        "blue": 4,
        "alone": 1,
    }
    expected = {
        "capacity": 6,
        "free": 2,
        "lessons": 4,
        "tasks": None,
        "generation": 1,
        "adapted": [],
        "kept_a_class": 0,
        "accuracy": None,
        "file_bytes": state.stat().st_size,
    }
    assert {name: found[name] for name in expected} == expected
    images, width = 14, 12
    assert found["journal"] == {
        "bytes": images * (2 * width + 4 + 8),  # features in fp16, a label, a picture's key
        "limit": 1 << 23,
        "in_force": 4,
        "settled": 0,
        "undone": 0,
    }
    text = run("inspect", state)
    assert "4 classes of 6, 2 are free; 4 lessons" in text
    assert "class  images\nred         5\nrouge       4\n" in text


def test_images_are_judged_as_by_learners_that_were_not_taught_them(
    one_pass_bundle, classes, state
):
    right = {}
    for label in ("red", "rouge", "blue"):
        right[label] = 0
        for place, picture in enumerate(classes[label]):
            rest = classes[label][:place] + classes[label][place + 1 :]
            (answer,) = taught(one_pass_bundle, {**classes, label: rest}).predict(picture)
            right[label] += answer.ranking[0][0] == label
    found = json.loads(run("inspect", state, "--bundle", one_pass_bundle, "--json"))
    judged = {one["label"]: one["left_out"] for one in found["classes"]}
    assert judged.pop("alone") is None
    assert {label: one["right"] for label, one in judged.items()} == right
    assert found["accuracy"] == sum(right.values()) / 13
    assert right["blue"] == 4
    assert judged["blue"]["confused"] is None
    assert sum(right.values()) < 13  # red and rouge are one colour
    assert {label for label in ("red", "rouge") if judged[label]["confused"]} <= {"red", "rouge"}
    text = run("inspect", state, "--bundle", one_pass_bundle)
    assert f"{100 * found['accuracy']:.1f} % right, each image left out" in text
    assert text.index("rouge") < text.index("blue")  # the worst first


def test_what_adapted_the_features_and_what_was_undone(one_pass_bundle, pictures, state):
    run("undo", one_pass_bundle, "--state", state)
    learner = OnDeviceLearner(one_pass_bundle)
    both = {label: pictures(label, 4) for label in ("green", "pink")}
    learner.learn(both, keep=2)
    learner.learn({"blue": pictures("blue", 2)})
    learner.learn({"grey": pictures("grey", 2)}, journal=0)
    other = state.with_name("other")
    learner.save(other)
    found = json.loads(run("inspect", state, "--json"))
    assert (found["journal"]["in_force"], found["journal"]["undone"]) == (3, 1)
    found = json.loads(run("inspect", other, "--json"))
    (adapted,) = found["adapted"]  # though it is settled
    assert (adapted["lesson"], adapted["on"], adapted["reason"]) == (1, ["green", "pink"], "first")
    assert found["journal"] == {
        "bytes": 0,
        "limit": 0,
        "in_force": 3,
        "settled": 3,
        "undone": 0,
    }
    assert "kept beside it: up to 2 pictures a class" in run("inspect", other)
    judged = run("inspect", other, "--bundle", one_pass_bundle)  # by no image
    assert "left out" not in judged
    history = run("history", one_pass_bundle, "--state", other)
    assert history.count("the features were adapted") == 1


def test_a_state_of_tasks_has_no_journal(bundle, pictures, tmp_path):
    learner = OnDeviceLearner(bundle)
    learner.learn({"red": pictures("red", 2), "blue": pictures("blue", 3)}, epochs=1)
    learner.save(tmp_path / "state")
    found = json.loads(run("inspect", tmp_path / "state", "--bundle", bundle, "--json"))
    assert (found["tasks"], found["lessons"]) == (3, 1)
    assert not {"journal", "readout", "adapted"} & found.keys()
    assert "1 task, room for 3 tasks\na bundle with tasks keeps no journal" in run(
        "inspect", tmp_path / "state"
    )


def test_what_cannot_be_inspected_is_said(one_pass_bundle, other_bundle, state, tmp_path):
    assert "--bundle is for a state" in run(
        "inspect", one_pass_bundle, "--bundle", one_pass_bundle, status=2
    )
    assert "does not fit this bundle" in run("inspect", state, "--bundle", other_bundle, status=1)
    assert "name a file that" in run("inspect", tmp_path / "nothing", status=1)
    shutil.copy(state, tmp_path / "cut")
    (tmp_path / "cut").write_bytes(state.read_bytes()[:-1])
    assert "truncated" in run("inspect", tmp_path / "cut", status=1)
