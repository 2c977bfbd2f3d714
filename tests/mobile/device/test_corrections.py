"""What was taught, undone and corrected on a device: as if it had never been taught otherwise."""

import numpy as np
import pytest

from cbpnet.host.errors import InputError
from mobile.device.runtime import OnDeviceLearner

LABELS = ("red", "green", "blue", "white")


@pytest.fixture
def learner(one_pass_bundle):
    return OnDeviceLearner(one_pass_bundle)


def tensors(learner):
    return dict(learner._knowledge.state)


def scores(learner, pictures):
    """Return each class's probabilities of some pictures, by the class's name."""
    shown = [one for label in LABELS for one in pictures(label, 3, seed=5)]
    rows = [dict(found.ranking) for found in learner.predict(shown)]
    return {name: np.array([row[name] for row in rows]) for name in learner.class_names}


def assert_same(learner, other, pictures, within=1e-4):
    assert set(learner.class_names) == set(other.class_names)
    expected = scores(other, pictures)
    for name, found in scores(learner, pictures).items():
        np.testing.assert_allclose(found, expected[name], atol=within, err_msg=name)


def assert_equal(found, expected):
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


def teach(learner, pictures, *lessons, **more):
    """Teach lessons, each by (label, count, seed) for its classes."""
    for lesson in lessons:
        learner.learn(
            {label: pictures(label, count, seed) for label, count, seed in lesson}, **more
        )


FIRST = [("red", 6, 1), ("green", 6, 1)]


def test_undoing_every_lesson_gives_what_was_known_before_it_bit_for_bit(learner, pictures):
    known = [(tensors(learner), learner.class_names)]
    for lesson in (FIRST, [("blue", 5, 2), ("red", 3, 2)], [("white", 4, 3)]):
        teach(learner, pictures, lesson)
        known.append((tensors(learner), learner.class_names))
    last = known.pop()
    for expected, names in reversed(known):
        learner.undo()
        assert learner.class_names == names
        assert_equal(tensors(learner), expected)
    with pytest.raises(InputError, match="nothing has been learnt"):
        learner.undo()
    for _ in range(3):
        learner.redo()
    assert learner.class_names == last[1]
    assert_equal(tensors(learner), last[0])
    with pytest.raises(InputError, match="nothing was undone"):
        learner.redo()


def test_a_lesson_that_adapted_over_older_ones_is_undone(one_pass_bundle, learner, pictures):
    teach(learner, pictures, [("red", 5, 1)])  # one class has nothing to be told apart from
    before = tensors(learner)
    teach(learner, pictures, [("green", 5, 1), ("blue", 5, 1)])
    after = tensors(learner)
    assert after["lessons.adapted"] == 1
    assert learner.journal.events[1].drift
    assert np.abs(after["prompts.g"] - before["prompts.g"]).max() > 0
    learner.undo()
    assert_equal(tensors(learner), before)
    learner.redo()
    assert_equal(tensors(learner), after)


def test_a_forgotten_lesson_was_never_taught(one_pass_bundle, learner, pictures):
    other = OnDeviceLearner(one_pass_bundle)
    teach(learner, pictures, FIRST, [("blue", 5, 2)], [("white", 4, 3), ("red", 2, 3)])
    teach(other, pictures, FIRST, [("white", 4, 3), ("red", 2, 3)])
    learner.forget("blue")
    assert learner.class_names == ("red", "green", "white")
    assert_same(learner, other, pictures)
    learner.undo()
    assert "blue" in learner.class_names


def test_relabelled_pictures_were_never_mislabelled(one_pass_bundle, learner, pictures):
    other = OnDeviceLearner(one_pass_bundle)
    wrong = pictures("blue", 5, 2)
    teach(learner, pictures, FIRST)
    learner.learn({"red": wrong})
    teach(learner, pictures, [("white", 4, 3)])
    teach(other, pictures, FIRST)
    other.learn({"blue": wrong})
    teach(other, pictures, [("white", 4, 3)])
    learner.relabel(wrong, "blue")
    assert_same(learner, other, pictures)
    with pytest.raises(InputError, match="already"):
        learner.relabel(wrong, "blue")
    with pytest.raises(InputError, match="no lesson"):
        learner.relabel(pictures("blue", 1, 9), "red")


def test_merged_classes_were_always_one_and_a_name_is_only_a_name(
    one_pass_bundle, learner, pictures
):
    other = OnDeviceLearner(one_pass_bundle)
    teach(learner, pictures, FIRST)
    learner.learn({"azure": pictures("blue", 3, 2), "blue": pictures("blue", 4, 4)})
    learner.merge("azure", "blue")
    learner.rename("red", "crimson")
    learner.rename("crimson", "Red")
    teach(other, pictures, FIRST)
    other.learn({"blue": pictures("blue", 3, 2) + pictures("blue", 4, 4)})
    learner.rename("Red", "red")
    assert_same(learner, other, pictures)
    with pytest.raises(InputError, match="known"):
        learner.rename("red", "green")
    with pytest.raises(InputError, match="case or Unicode"):
        learner.rename("red", "GREEN")


def test_what_a_state_file_keeps_is_undone_in_another_process(
    one_pass_bundle, learner, pictures, tmp_path
):
    teach(learner, pictures, [("red", 5, 1)], [("green", 5, 1), ("blue", 5, 1)], keep=2)
    before = tensors(learner)
    learner.forget("red")
    learner.save(tmp_path / "state")
    again = OnDeviceLearner(one_pass_bundle, tmp_path / "state")
    assert again.class_names == ("green", "blue")
    assert_equal(tensors(again), tensors(learner))
    again.undo()
    assert_equal(tensors(again), before)
    again.save(tmp_path / "state")
    last = OnDeviceLearner(one_pass_bundle, tmp_path / "state")
    last.redo()
    assert_equal(tensors(last), tensors(learner))


def test_kept_pictures_follow_their_classes(learner, pictures):
    teach(learner, pictures, FIRST, [("blue", 5, 2)], keep=2)
    files = dict(zip(learner.class_names, learner.kept.classes, strict=True))
    learner.rename("red", "rot")
    learner.forget("green")
    assert learner.class_names == ("rot", "blue")
    assert learner.kept.classes == (files["red"], files["blue"])
    learner.undo()
    assert learner.class_names == ("rot", "green", "blue")
    assert learner.kept.classes == (files["red"], (), files["blue"])


def test_a_bounded_journal_settles_the_oldest_lessons(one_pass_bundle, learner, pictures):
    other = OnDeviceLearner(one_pass_bundle)
    lessons = [FIRST, [("blue", 5, 2)], [("white", 4, 3)], [("red", 3, 7)]]
    teach(other, pictures, *lessons)
    size = other.journal.bytes
    teach(learner, pictures, *lessons, journal=size // 2)
    assert learner.journal.bytes <= size // 2
    assert 0 < learner.journal.settled < 4
    assert_same(learner, other, pictures, within=0.05)  # prior and scale may be others
    learner.undo()
    learner.forget("red")
    assert learner.class_names == ("green", "blue", "white")
    while learner.journal.head > learner.journal.settled:
        learner.undo()
    with pytest.raises(InputError, match="journal"):
        learner.undo()


def test_what_is_forgotten_for_good_leaves_no_feature(one_pass_bundle, learner, pictures):
    other = OnDeviceLearner(one_pass_bundle)
    for each in (learner, other):
        teach(each, pictures, FIRST, [("blue", 5, 2)], [("white", 4, 3), ("red", 2, 3)])
    other.forget("red")
    learner.forget("red", for_good=True)
    assert_equal(tensors(learner), tensors(other))
    assert sum(len(lesson.x) for lesson in learner.journal.events[:3]) == 6 + 5 + 4
    with pytest.raises(InputError, match="cannot be undone"):
        learner.undo()
    teach(learner, pictures, [("red", 3, 8)])
    learner.undo()
    assert_equal(tensors(learner), tensors(other))


def test_an_adaptation_outlives_the_pictures_that_it_was_made_with(
    one_pass_bundle, learner, pictures, tmp_path
):
    teach(learner, pictures, [("red", 5, 1)], [("green", 5, 1), ("blue", 5, 1)])
    for label in ("green", "blue"):
        learner.forget(label, for_good=True)
    before = tensors(learner)
    assert before["lessons.adapted"] == 1
    learner.save(tmp_path / "state")
    again = OnDeviceLearner(one_pass_bundle, tmp_path / "state")
    teach(again, pictures, [("white", 4, 1)])
    again.undo()
    assert_equal(tensors(again), before)


def test_what_rests_on_settled_lessons_alone_has_their_readout(learner, pictures):
    lessons = [FIRST, [("blue", 5, 2)]]
    teach(learner, pictures, *lessons)
    size = learner.journal.events[1].bytes
    teach(learner, pictures, [("white", 4, 3)], journal=2 * size)
    while learner.journal.head > learner.journal.settled:
        learner.undo()
    assert learner.journal.rests_on_base
    for label in learner.class_names:
        found = learner.predict(pictures(label, 4, seed=9))
        assert sum(one.label == label for one in found) >= 3, label
    learner.forget("red", for_good=True)
    assert "red" not in {one.label for one in learner.predict(pictures("red", 4, seed=9))}


def test_without_a_journal_nothing_can_be_undone_and_classes_can_be_forgotten(learner, pictures):
    teach(learner, pictures, FIRST, [("blue", 5, 2)], journal=0)
    assert learner.journal.bytes == 0
    assert [len(lesson.names) for lesson in learner.journal.events] == [2, 1]
    with pytest.raises(InputError, match="journal"):
        learner.undo()
    with pytest.raises(InputError, match="not in the journal"):
        learner.merge("red", "blue")
    learner.forget("red")
    assert learner.class_names == ("green", "blue")
    assert {found.label for found in learner.predict(pictures("green", 4, 8))} == {"green"}


def test_a_bundle_with_tasks_says_that_it_cannot(bundle, pictures):
    learner = OnDeviceLearner(bundle)
    learner.learn({"red": pictures("red", 4)})
    with pytest.raises(InputError, match="tasks"):
        learner.forget("red")
