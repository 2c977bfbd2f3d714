"""States of several devices become one: equal to one device that saw every lesson."""

from itertools import permutations

import numpy as np
import pytest

from cbpnet.host.errors import InputError
from mobile.device.kept_pictures import decode_picture
from mobile.device.runtime import OnDeviceLearner

LABELS = ("red", "green", "blue", "white")
START = {"red": 1, "green": 1}
OWN = ({"blue": 2}, {"white": 3}, {"red": 4, "blue": 5}, {"green": 6}, {"white": 7})


def shown(pictures, lesson):
    return {label: pictures(label, 4, seed) for label, seed in lesson.items()}


def scores(learner, pictures):
    few = [one for label in LABELS for one in pictures(label, 3, seed=50)]
    rows = [dict(found.ranking) for found in learner.predict(few)]
    return {name: np.array([row[name] for row in rows]) for name in learner.class_names}


def assert_same(learner, expected, pictures):
    found = scores(learner, pictures)
    assert set(found) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, atol=1e-4, err_msg=name)


@pytest.fixture(scope="module")
def devices(one_pass_bundle, pictures, tmp_path_factory):
    """Return a folder with five devices' states, two lessons each, and one that saw everything."""
    folder = tmp_path_factory.mktemp("devices")
    first = OnDeviceLearner(one_pass_bundle)
    first.learn(shown(pictures, START), keep=2)
    first.save(folder / "start")
    everything = OnDeviceLearner(one_pass_bundle, folder / "start")
    for number, own in enumerate(OWN):
        device = OnDeviceLearner(one_pass_bundle, folder / "start")
        device.learn(shown(pictures, own))
        device.save(folder / f"{number}")
        everything.learn(shown(pictures, own))
    return folder, scores(everything, pictures)


def test_five_devices_know_what_one_that_saw_everything_knows(
    devices, one_pass_bundle, pictures, tmp_path
):
    folder, expected = devices
    learner = OnDeviceLearner(one_pass_bundle)
    for order in list(permutations("01234"))[::40]:
        merged = learner.merge_states([folder / name for name in order])
        assert merged.shared == 1
        assert set(merged.clashes) == {"blue", "white"}
        assert_same(learner, expected, pictures)
    # Some of them merged before, so that lessons are in several states.
    for name, few in (("a", "012"), ("b", "2340")):
        learner.merge_states([folder / one for one in few])
        learner.save(tmp_path / name)
    merged = learner.merge_states([tmp_path / "b", tmp_path / "a", folder / "1"])
    assert merged.shared == 4
    assert_same(learner, expected, pictures)
    assert learner.images == {"red": 8, "green": 8, "blue": 8, "white": 8}


def test_a_correction_on_one_device_is_that_of_all(devices, one_pass_bundle, pictures, tmp_path):
    folder, _ = devices
    learner = OnDeviceLearner(one_pass_bundle, folder / "0")
    learner.forget("green")
    learner.save(tmp_path / "corrected")
    for order in (("corrected", "1"), ("1", "corrected")):
        paths = [(tmp_path if name == "corrected" else folder) / name for name in order]
        learner.merge_states(paths)
        assert set(learner.class_names) == {"red", "blue", "white"}


def test_other_names_are_for_lessons_of_its_own(devices, one_pass_bundle):
    folder, _ = devices
    learner = OnDeviceLearner(one_pass_bundle)
    paths = [str(folder / "0"), str(folder / "2")]
    merged = learner.merge_states(paths, {paths[1]: {"red": "pink", "blue": "azure"}})
    assert learner.images == {"red": 4, "green": 4, "blue": 4, "pink": 4, "azure": 4}
    assert not merged.clashes
    assert [len(few) for few in learner.kept.classes] == [2, 2, 2, 2, 2]


def test_states_that_cannot_be_compared_are_refused_by_name(
    devices, one_pass_bundle, pictures, tmp_path
):
    folder, _ = devices
    other = OnDeviceLearner(one_pass_bundle)
    other.learn(shown(pictures, {"blue": 1, "white": 1}), keep=3)
    other.save(tmp_path / "other")
    learner = OnDeviceLearner(one_pass_bundle)
    with pytest.raises(InputError, match=r"other were adapted by the lesson of blue, white, those"):
        learner.merge_states([folder / "0", tmp_path / "other"])
    without = OnDeviceLearner(one_pass_bundle, folder / "start")
    without.learn(shown(pictures, {"white": 9}), journal=0)
    without.save(tmp_path / "without")
    with pytest.raises(InputError, match="do not start from the same state"):
        learner.merge_states([folder / "0", tmp_path / "without"])
    merged = learner.merge_states([folder / "0", tmp_path / "other"], recount=True)
    assert learner.images == {"red": 4, "green": 4, "blue": 7, "white": 3}
    assert set(merged.clashes) == {"blue"}
    for label in LABELS:
        found = learner.predict(pictures(label, 5, seed=60))
        assert sum(one.label == label for one in found) >= 4, label


def test_kept_pictures_are_counted_on_lessons_that_the_journal_has_settled(
    one_pass_bundle, pictures, tmp_path
):
    first, other = OnDeviceLearner(one_pass_bundle), OnDeviceLearner(one_pass_bundle)
    first.learn(shown(pictures, START), journal=0)
    first.learn(shown(pictures, {"blue": 2}), journal=1_000_000)
    first.save(tmp_path / "first")
    assert first.journal.settled == 1
    other.learn(shown(pictures, {"blue": 1, "white": 1}), keep=3)
    other.save(tmp_path / "other")

    expected = OnDeviceLearner(one_pass_bundle, tmp_path / "first")
    kept = dict(zip(other.class_names, other.kept.classes, strict=True))
    few = {
        label: [decode_picture(file, other.manifest.image_size) for file in files]
        for label, files in kept.items()
    }
    (lesson,) = expected.learn(few)
    assert not lesson.decision.adapts

    learner = OnDeviceLearner(one_pass_bundle)
    learner.merge_states([tmp_path / "first", tmp_path / "other"], recount=True)
    assert learner.images == {"red": 4, "green": 4, "blue": 7, "white": 3}
    assert_same(learner, scores(expected, pictures), pictures)
