"""A lesson of the one-pass learner: what it decides, and what it comes to know."""

import math
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

from cbpnet.data.preprocessing import Preprocessing
from cbpnet.host.errors import InputError
from cbpnet.host.random_streams import RandomStream
from cbpnet.method.config import AdaptationConfig, LearnerConfig, PromptConfig, ReadoutConfig
from cbpnet.method.eager import EagerOnePass
from cbpnet.method.one_pass import OnePassLearner
from cbpnet.run.lesson import learn_lesson
from cbpnet.run.training import LessonImages, TrainingConfig

DIM, CLASSES, SIDE = 12, 6, 4
PREPROCESSING = Preprocessing(SIDE, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), "bilinear", 1.0)
TRAINING = TrainingConfig(epochs=2, batch_size=4, micro_batch=4, final_rate=0.1)


def config(kind="auto", readout="whitened", features=("pooled",)):
    layers = () if kind == "never" else (0, 2)
    return LearnerConfig(
        PromptConfig(layers, 2, (), 1),
        readout=ReadoutConfig(readout, regularisation=1.0),
        adaptation=AdaptationConfig(kind, fewest_classes=2),
        features=features,
    )


@pytest.fixture
def learner_of(toy_extractor):
    def build(settings, kind=OnePassLearner):
        return EagerOnePass(kind(toy_extractor(DIM), settings, CLASSES))

    return build


@pytest.fixture
def learner(learner_of):
    return learner_of(config())


def images(classes, each=6, noise=0.05, seed=0):
    """Pixels of a class are a pattern of its own, with noise."""
    patterns = RandomStream(9, 0).uniform(CLASSES, SIDE, SIDE, 3)
    labels = np.array(classes).repeat(each)
    shown = patterns[labels]
    shown = shown + noise * RandomStream(seed, 1).normal(*shown.shape)
    return LessonImages((255 * shown.clip(0, 1)).astype(np.uint8), labels)


def learn(learner, state, shown, kept=None, seed=0, begin=None):
    return learn_lesson(learner, state, shown, PREPROCESSING, TRAINING, seed, kept, start=begin)


def start(learner):
    return learner.initial_state(RandomStream(1, 0))


def accuracy(learner, state, shown):
    x = learner.features(state, shown.batch(np.arange(len(shown.labels)), PREPROCESSING))
    scores, probabilities, _ = learner.predict(state, x)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6, atol=1e-5)
    return (scores.argmax(axis=1) == shown.labels).mean()


def reasons(learner, *lessons):
    state, found = start(learner), []
    for shown in lessons:
        outcome = learn(learner, state, shown)
        state = outcome.state
        found.append(outcome.decision.reason)
    return found, state


@pytest.mark.parametrize("readout", ["whitened", "means", "rls"])
@pytest.mark.parametrize("kind", ["auto", "first", "always", "never"])
def test_lesson_after_lesson_old_and_new_classes_are_known(learner_of, kind, readout):
    learner = learner_of(config(kind, readout))
    _, state = reasons(learner, images([0, 1]), images([2, 3]), images([4]))
    assert state["lessons.count"] == 3
    assert accuracy(learner, state, images([0, 1, 2, 3, 4], seed=7)) > 0.95


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("auto", ["one class", "first", "familiar", "foreign"]),
        ("first", ["one class", "first", "adapted before", "adapted before"]),
        ("always", ["one class", "always", "always", "always"]),
        ("never", ["never"] * 4),
    ],
)
def test_it_adapts_where_its_kind_says_so(learner_of, kind, expected):
    learner = learner_of(config(kind))
    lessons = images([0]), images([1, 2]), images([3, 4]), images([4, 5], noise=3.0)
    found, state = reasons(learner, *lessons)
    assert found == expected
    assert state["lessons.adapted"] == sum(one in ("first", "foreign", "always") for one in found)


def test_a_lesson_of_few_classes_beside_those_known_does_not_adapt(learner_of):
    adaptation = AdaptationConfig("auto", fewest_classes=2, share=0.6)
    learner = learner_of(replace(config(), adaptation=adaptation))
    noisy = images([0, 1], noise=3.0)
    found, _ = reasons(learner, images([0, 1, 2, 3, 4]), noisy, images([5]), noisy)
    assert found == ["first", "foreign", "one class", "outnumbered"]  # two beside three, and four
    # Nor where no other has adapted: what was counted would be moved all the same.
    found, _ = reasons(learner, *(images([one]) for one in range(4)), images([4, 5]), noisy)
    assert found == [*["one class"] * 4, "outnumbered", "outnumbered"]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("auto", ["one class", "few classes", "few classes", "first", "few classes", "foreign"]),
        ("first", ["one class", "first", *["adapted before"] * 4]),
        ("always", ["one class", *["always"] * 5]),
    ],
)
def test_auto_leaves_lessons_of_less_than_its_fewest_classes_alone(learner_of, kind, expected):
    """Whatever images they have, and whether or not another lesson has adapted before."""
    adaptation = AdaptationConfig(kind, fewest_classes=3)
    learner = learner_of(replace(config(), adaptation=adaptation))
    few, enough = images([0, 1], noise=3.0), images([3, 4, 5], noise=3.0)
    found, _ = reasons(learner, images([0]), images([0, 1]), few, enough, few, enough)
    assert found == expected


class Classifying(OnePassLearner):
    """A learner whose classifier is as sure of an image as it is bright."""

    def confidence(self, images):
        return images.mean(dim=(1, 2, 3)) / 4 + 0.5


@pytest.mark.parametrize(("brightness", "expected"), [(0.1, "foreign"), (0.9, "familiar")])
def test_where_there_is_a_classifier_it_says_whether_images_are_foreign(
    learner_of, brightness, expected
):
    learner = learner_of(config(), Classifying)
    state = learn(learner, start(learner), images([0, 1])).state
    shown = images([2, 3], noise=0.01)
    pixels = (0.05 * shown.pixels + 255 * brightness * 0.95).astype(np.uint8)
    decision = learn(learner, state, LessonImages(pixels, shown.labels)).decision
    assert decision.reason == expected
    assert decision.confidence == pytest.approx(brightness, abs=0.05)


def test_a_familiar_lesson_leaves_the_features_alone_and_costs_one_pass(learner):
    _, state = reasons(learner, images([0, 1]))
    seen = []
    outcome = learn_lesson(
        learner, state, images([2, 3]), PREPROCESSING, TRAINING, 0, progress=seen.append
    )
    assert np.array_equal(outcome.state["prompts.g"], state["prompts.g"])
    assert sum(seen) == 12
    assert outcome.decision.passes == 0
    assert outcome.decision.accuracy == 1.0


def test_without_an_adaptation_the_order_of_images_and_lessons_is_nothing(learner_of):
    learner = learner_of(config("never"))
    shown = images([0, 1, 2, 3], noise=0.3)
    order = RandomStream(3, 0).permutation(24)
    shuffled = LessonImages(shown.pixels[order], shown.labels[order])
    one, other = (learn(learner, start(learner), few).state for few in (shown, shuffled))
    for name in ("classes.mean", "classes.scatter", "readout.weight", "readout.bias"):
        np.testing.assert_allclose(one[name], other[name], rtol=1e-4, atol=1e-4)
    assert one["readout.prior"] == other["readout.prior"]


def test_prior_and_scale_are_the_likeliest_of_the_lessons_left_out(learner_of):
    """By brute force, up to what one image more weighs: the learner without each in turn."""
    few = ReadoutConfig("whitened", priors=(0.03, 1.0, 30.0), scales=(0.1, 1.0))
    learner = learner_of(replace(config("never"), readout=few))
    shown, state = images([0, 1, 2], each=12, noise=0.4), start(learner)
    rows = np.arange(36)
    x = learner.features(state, shown.batch(rows, PREPROCESSING))
    found = {}
    for prior in few.priors:
        for scale in few.scales:
            total = -8 * math.log10(prior) ** 2
            for number in range(36):
                others = rows != number
                known = learner.observe(state, x[others], shown.labels[others])
                given = (np.full(1, value, np.float32) for value in (prior, scale))
                known, _ = learner.solve(known, *given)
                _, likely, _ = learner.predict(known, x[number : number + 1])
                total += math.log(likely[0, shown.labels[number]])
            found[prior, scale] = total
    best = max(found, key=found.get)
    outcome = learn(learner, state, shown).state
    assert (outcome["readout.prior"].item(), outcome["readout.scale"].item()) == pytest.approx(best)
    expected = [[found[p, s] + 8 * math.log10(p) ** 2 for s in few.scales] for p in few.priors]
    np.testing.assert_allclose(outcome["readout.evidence"], expected, rtol=0.1, atol=0.5)


def test_one_class_is_not_told_apart_from_anything(learner):
    assert learn(learner, start(learner), images([0])).decision.accuracy is None


def test_single_pictures_leave_the_prior_as_it_was(learner):
    state = start(learner)
    outcome = learn(learner, state, images([0], each=1))
    assert outcome.decision.accuracy is None
    for name in ("readout.prior", "readout.scale"):
        assert outcome.state[name] == state[name]


def test_kept_pictures_move_their_class_to_where_they_are_now(learner_of):
    learner = learner_of(config("always"))
    state = learn(learner, start(learner), images([0, 1])).state
    kept = images([0, 1], each=5, seed=4)
    plain = learn(learner, state, images([2, 3])).state
    helped = learn(learner, state, images([2, 3]), kept).state
    assert np.array_equal(plain["prompts.g"], helped["prompts.g"])
    everything = images([0, 1], each=50, seed=5)
    x = learner.features(plain, everything.batch(np.arange(100), PREPROCESSING))
    for label in (0, 1):
        right = x[everything.labels == label].mean(axis=0)
        apart = [np.linalg.norm(one["classes.mean"][label] - right) for one in (plain, helped)]
        assert apart[1] < apart[0]


def test_a_class_beyond_the_capacity_is_refused(learner):
    with pytest.raises(InputError, match="class 6 is outside the learner's capacity of 6"):
        learn(learner, start(learner), LessonImages(images([0]).pixels, np.full(6, 6)))


@pytest.mark.parametrize("features", [("pooled", "patches"), ("pooled", "random20")])
def test_more_features_make_a_wider_state(learner_of, features):
    learner = learner_of(config(features=features))
    width = {"patches": 12, "random20": 20}[features[1]] + DIM
    _, state = reasons(learner, images([0, 1]))
    assert state["classes.scatter"].shape == (width, width)
    assert accuracy(learner, state, images([0, 1], seed=7)) == 1


def test_progress_counts_looks_and_training(learner):
    state, counts = start(learner), []
    for classes in ([0, 1], [2, 3]):
        state = learn_lesson(
            learner,
            state,
            images(classes),
            PREPROCESSING,
            TRAINING,
            0,
            progress=counts.append,
        ).state
    # Twelve images: looked at; two epochs by four; looked at again. The second lesson is familiar.
    looking, training = [8, 4], [4] * 6
    assert counts == [*looking, *training, *looking, *looking]


def test_ages_and_utilities_of_tokens_live_on_from_lesson_to_lesson(learner_of):
    prompts = PromptConfig((0, 2), 2, (), 1, replacement_rate=0.01)
    learner = learner_of(replace(config("always"), prompts=prompts))
    state, steps = start(learner), 0
    for lesson, classes in enumerate(((0, 1), (2, 3), (1, 4, 5))):
        before = state
        shown = images(classes, seed=lesson)
        state = learn(learner, state, shown).state
        steps += TRAINING.steps(len(shown.labels))
        assert (state["cbp.prompt_age"] == steps).all()
        assert not np.array_equal(state["cbp.prompt_utility"], before["cbp.prompt_utility"])
    assert (state["cbp.prompt_utility"] > 0).all()


def test_an_adaptation_may_start_from_another_prompt(learner_of):
    """What it then learns does not depend on the prompt of the lessons before."""
    learner = learner_of(config("always"))
    begin = learner.initial_state(RandomStream(8, 0))
    later, found = images((2, 3), seed=1), []
    for earlier in (images((0, 1)), images((4, 5))):
        known = learn(learner, start(learner), earlier).state
        found.append(learn(learner, known, later, begin=begin).state)
    todays = learn(learner, known, later).state
    assert np.array_equal(found[0]["prompts.g"], found[1]["prompts.g"])
    assert not np.array_equal(found[0]["prompts.g"], todays["prompts.g"])
    assert found[0]["classes.count"].tolist() == [6, 6, 6, 6, 0, 0]
