"""The on-device learner on a one-pass bundle: lessons, kept pictures, threads."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor, wait

import numpy as np
import pytest

from cbpnet.data.pixels import normalise
from cbpnet.host.errors import InputError
from cbpnet.host.random_streams import RandomStream
from cbpnet.run.lesson import learn_lesson
from cbpnet.run.state_file import load_state
from cbpnet.run.training import LessonImages, TrainingConfig
from mobile.device.images import prepare_images
from mobile.device.lessons import Lesson
from mobile.device.program import Program
from mobile.device.runtime import OnDeviceLearner


@pytest.fixture
def learner(one_pass_bundle):
    return OnDeviceLearner(one_pass_bundle)


def test_lesson_after_lesson_new_and_known_classes_together(learner, pictures):
    first = learner.learn({label: pictures(label, 9) for label in ("red", "green")})
    second = learner.learn({"blue": pictures("blue", 8), "red": pictures("red", 2, 1)})
    last = learner.learn({"white": pictures("white", 4)})
    found = [
        dataclasses.replace(lesson, decision=None, recall=()) for lesson in first + second + last
    ]
    assert found == [
        Lesson(None, ("red", "green"), (), 18),
        Lesson(None, ("blue",), ("red",), 10),
        Lesson(None, ("white",), (), 4),
    ]
    decided = [lesson.decision for lesson in first + second + last]
    assert [one.reason for one in decided] == ["first", "familiar", "one class"]
    assert [one.adapts for one in decided] == [True, False, False]
    assert decided[1].accuracy == 1
    assert learner.class_names == ("red", "green", "blue", "white")
    assert (learner.known_tasks, learner.lessons) == (3, 3)
    for label in ("red", "green", "blue", "white"):
        found = learner.predict(pictures(label, 6, seed=2))
        assert sum(image.label == label for image in found) >= 5, label


def test_what_it_learns_is_what_a_lesson_in_pytorch_learns(
    learner, one_pass_eager, pictures, tmp_path
):
    learner.learn({label: pictures(label, 5) for label in ("red", "green")}, 3, 4, seed=3)
    learner.save(tmp_path / "state")
    state, info = load_state(tmp_path / "state")
    preprocessing = learner.manifest.preprocessing
    pixels = prepare_images(pictures("red", 5) + pictures("green", 5), preprocessing)
    expected = learn_lesson(
        one_pass_eager,
        one_pass_eager.initial_state(RandomStream(2, 0)),
        LessonImages(pixels, np.array([0] * 5 + [1] * 5)),
        preprocessing,
        TrainingConfig(3, 4, 4, final_rate=one_pass_eager.config.adaptation.final_rate),
        seed=3,
    ).state
    assert info.class_names == ("red", "green")
    assert (info.progress["lessons"], info.progress["generation"]) == (1, 1)
    for name, value in expected.items():
        np.testing.assert_allclose(state[name], value, rtol=1e-2, atol=1e-3, err_msg=name)


def test_a_prediction_ranks_the_known_classes_and_has_no_task(learner, one_pass_eager, pictures):
    learner.learn({label: pictures(label, 5) for label in ("red", "green", "blue")})
    shown = pictures("green", 3, seed=1)
    found = learner.predict(shown)
    images = normalise(
        prepare_images(shown, learner.manifest.preprocessing), (0.5,) * 3, (0.5,) * 3
    )
    assert learner.predict(images) == found
    state = learner._knowledge.state
    _, expected, _ = one_pass_eager.predict(state, one_pass_eager.features(state, images))
    for prediction, row in zip(found, expected[:, :3], strict=True):
        labels, shares = zip(*prediction.ranking, strict=True)
        falling = row.argsort()[::-1]
        assert list(labels) == [learner.class_names[i] for i in falling]
        np.testing.assert_allclose(shares, row[falling], rtol=1.3e-6, atol=1e-5)
        assert prediction.task is None


def test_the_cost_is_said_before_and_progress_counts_it(learner, pictures):
    events = []
    for given in (
        {label: pictures(label, 4) for label in ("red", "green")},
        {label: pictures(label, 4) for label in ("blue", "white")},
    ):
        learner.learn(given, epochs=3, progress=events.append, decided=events.append, keep=2)
    looked, forecast, *adapting = events
    assert (looked, forecast.images, forecast.looks) == (8, 8, 8 * (3 + 1))
    assert forecast.passes == 3 * 3 + 1
    assert forecast.seconds > 0
    *adapting, looked, forecast = adapting
    assert (sum(adapting), looked) == (32, 8)
    assert (forecast.passes, forecast.looks, forecast.seconds) == (0, 0, 0)


PHASES = {
    "look": ["features", "predict"],
    "count": ["observe"],
    "judge": ["solve", "leave_one_out"],
    "train": ["begin_task", "gradients", "update"],
    "compare": ["compare"],
    "carry": ["carry"],
}


def test_a_lesson_gives_methods_back_where_it_turns_to_others(
    one_pass_bundle, pictures, monkeypatch
):
    events = []
    call, release = Program.call, Program.release
    phase_of = {method: phase for phase, methods in PHASES.items() for method in methods}

    def note(event):
        if events[-1:] != [event]:
            events.append(event)

    def called(self, method, tensors):
        found = call(self, method, tensors)
        note(phase_of[method])
        return found

    learner = OnDeviceLearner(one_pass_bundle)
    monkeypatch.setattr(Program, "call", called)
    monkeypatch.setattr(Program, "release", lambda self: note("release") or release(self))
    learner.learn({label: pictures(label, 4) for label in ("red", "green")})
    assert events[::2] == ["release"] * 10
    looking = ["look", "count", "judge"]
    assert events[1::2] == [*looking, "train", "look", "compare", "carry", "count", "judge"]
    del events[:]
    learner.learn({"blue": pictures("blue", 4)})
    assert events == ["release", "look", "release", "count", "release", "judge", "release"]


def test_kept_pictures_are_those_of_old_classes_in_an_adaptation(learner, pictures, monkeypatch):
    shown = []

    def lesson(learner, state, images, *rest, **more):
        shown.append((images.labels.tolist(), rest[3] and rest[3].labels.tolist()))
        return learn_lesson(learner, state, images, *rest, **more)

    monkeypatch.setattr("mobile.device.one_pass_teacher.learn_lesson", lesson)
    for label, keep in (("red", 2), ("green", None), ("blue", 1), ("grey", 0), ("white", None)):
        learner.learn({label: pictures(label, 3)}, keep=keep)
    assert shown == [
        ([0] * 3, None),
        ([1] * 3, [0, 0]),
        ([2] * 3, [0, 1]),
        ([3] * 3, None),
        ([4] * 3, None),
    ]


def test_what_cannot_be_learnt_changes_nothing(learner, bundle, pictures, tmp_path):
    with pytest.raises(InputError, match="no class is known yet; learn some first"):
        learner.predict(pictures("red", 1))
    learner.learn({"red": pictures("red", 3)}, keep=1)
    before, kept = learner.predict(pictures("green", 2)), learner.kept
    (tmp_path / "x.jpg").write_text("a letter")
    normalised = [np.zeros((3, 8, 8), np.float32)]
    for images, options, reason in (
        ({}, {}, "there are no images"),
        ({"green": []}, {}, "class 'green' has no images"),
        ({"Red": pictures("red", 1)}, {}, "class 'Red' differs from the known class 'red'"),
        ({str(n): pictures("red", 1) for n in range(6)}, {}, "6 new classes do not fit, 5 of the"),
        ({"green": [*pictures("green", 40), tmp_path / "x.jpg"]}, {}, r"x.jpg: cannot be read"),
        ({"green": pictures("green", 1)}, {"task": 1}, "task is 1 and this bundle has no tasks"),
        ({"green": pictures("green", 1)}, {"epochs": 0}, "epochs is 0"),
        ({"green": pictures("green", 1)}, {"keep": -1}, "keep is -1; it must be at least 0"),
        ({"green": normalised}, {}, "keep is 1 and an image is a normalised tensor; right would"),
    ):
        with pytest.raises(InputError, match=reason):
            learner.learn(images, **options)
    assert learner.class_names == ("red",)
    assert (learner.predict(pictures("green", 2)), learner.kept) == (before, kept)
    assert learner.learn({"green": normalised}, keep=0)[0].images == 1
    with pytest.raises(InputError, match="keep is 2 and this bundle, whose adaptation is cbpnet"):
        OnDeviceLearner(bundle).learn({"red": pictures("red", 1)}, keep=2)


def test_learning_in_one_thread_while_others_predict(one_pass_bundle, pictures):
    """Every answer is the one from before; the next is from after."""
    learner, shown, asked = OnDeviceLearner(one_pass_bundle), pictures("grey", 2), []
    learner.learn({"red": pictures("red", 4), "white": pictures("white", 4)})
    before = learner.predict(shown)

    def ask(_):
        wait(asked[-2:])
        asked.extend(threads.submit(learner.predict, shown) for _ in range(2))

    # Pictures of two classes that cannot be told apart: this lesson adapts.
    hard = {"grey": pictures("grey", 8), "pink": pictures("grey", 8, seed=1)}
    with ThreadPoolExecutor(2) as threads:
        (lesson,) = learner.learn(hard, epochs=10, progress=ask)
        wait(asked)
    assert lesson.decision.reason == "foreign"
    # What was asked last may have been answered when all was learnt.
    after = learner.predict(shown)
    assert all(future.result() == before for future in asked[:-2])
    assert all(future.result() in (before, after) for future in asked[-2:])
    assert len(asked) > 20
    assert before != after
    again = OnDeviceLearner(one_pass_bundle)
    again.learn({"red": pictures("red", 4), "white": pictures("white", 4)})
    again.learn(hard, epochs=10)
    assert again.predict(shown) == after
