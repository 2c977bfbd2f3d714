"""A lesson of the one-pass learner: what it decides, and what it comes to know."""

import math
from dataclasses import replace

import pytest
import torch

from cbpnet.data.preprocessing import Preprocessing
from cbpnet.host.errors import InputError
from cbpnet.host.random_streams import RandomStream
from cbpnet.method.config import AdaptationConfig, LearnerConfig, PromptConfig, ReadoutConfig
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
        adaptation=AdaptationConfig(kind),
        features=features,
    )


@pytest.fixture
def learner(toy_extractor):
    return OnePassLearner(toy_extractor(DIM), config(), CLASSES)


def images(classes, each=6, noise=0.05, seed=0):
    """Pixels of a class are a pattern of its own, with noise."""
    generator = torch.Generator().manual_seed(seed)
    patterns = torch.rand(CLASSES, SIDE, SIDE, 3, generator=torch.Generator().manual_seed(9))
    labels = torch.tensor(classes).repeat_interleave(each)
    shown = patterns[labels]
    shown = shown + noise * torch.randn(shown.shape, generator=generator)
    return LessonImages((255 * shown.clamp(0, 1)).to(torch.uint8), labels)


def learn(learner, state, shown, kept=None, seed=0, begin=None):
    return learn_lesson(learner, state, shown, PREPROCESSING, TRAINING, seed, kept, start=begin)


def start(learner):
    return learner.initial_state(RandomStream(1, 0))


def accuracy(learner, state, shown):
    x = learner.features(state, shown.batch(torch.arange(len(shown.labels)), PREPROCESSING))
    scores, probabilities = learner.predict(state, x)
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(len(x)))
    return (scores.argmax(dim=1) == shown.labels).float().mean()


def reasons(learner, *lessons):
    state, found = start(learner), []
    for shown in lessons:
        outcome = learn(learner, state, shown)
        state = outcome.state
        found.append(outcome.decision.reason)
    return found, state


@pytest.mark.parametrize("readout", ["whitened", "means", "rls"])
@pytest.mark.parametrize("kind", ["auto", "first", "always", "never"])
def test_lesson_after_lesson_old_and_new_classes_are_known(toy_extractor, kind, readout):
    learner = OnePassLearner(toy_extractor(DIM), config(kind, readout), CLASSES)
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
def test_it_adapts_where_its_kind_says_so(toy_extractor, kind, expected):
    learner = OnePassLearner(toy_extractor(DIM), config(kind), CLASSES)
    lessons = images([0]), images([1, 2]), images([3, 4]), images([4, 5], noise=3.0)
    found, state = reasons(learner, *lessons)
    assert found == expected
    assert state["lessons.adapted"] == sum(one in ("first", "foreign", "always") for one in found)


def test_a_lesson_of_few_classes_beside_those_known_does_not_adapt(toy_extractor):
    settings = replace(config(), adaptation=AdaptationConfig("auto", share=0.6))
    learner = OnePassLearner(toy_extractor(DIM), settings, CLASSES)
    noisy = images([0, 1], noise=3.0)
    found, _ = reasons(learner, images([0, 1, 2, 3, 4]), noisy, images([5]), noisy)
    assert found == ["first", "foreign", "one class", "outnumbered"]  # two beside three, and four


class Classifying(OnePassLearner):
    """A learner whose classifier is as sure of an image as it is bright."""

    def confidence(self, images):
        return images.mean(dim=(1, 2, 3)) / 4 + 0.5


@pytest.mark.parametrize(("brightness", "expected"), [(0.1, "foreign"), (0.9, "familiar")])
def test_where_there_is_a_classifier_it_says_whether_images_are_foreign(
    toy_extractor, brightness, expected
):
    learner = Classifying(toy_extractor(DIM), config(), CLASSES)
    state = learn(learner, start(learner), images([0, 1])).state
    shown = images([2, 3], noise=0.01)
    pixels = (0.05 * shown.pixels + 255 * brightness * 0.95).to(torch.uint8)
    decision = learn(learner, state, LessonImages(pixels, shown.labels)).decision
    assert decision.reason == expected
    assert decision.confidence == pytest.approx(brightness, abs=0.05)


def test_a_familiar_lesson_leaves_the_features_alone_and_costs_one_pass(learner):
    _, state = reasons(learner, images([0, 1]))
    seen = []
    outcome = learn_lesson(
        learner, state, images([2, 3]), PREPROCESSING, TRAINING, 0, progress=seen.append
    )
    assert outcome.state["prompts.g"].equal(state["prompts.g"])
    assert sum(seen) == 12
    assert outcome.decision.passes == 0
    assert outcome.decision.accuracy == 1.0


def test_without_an_adaptation_the_order_of_images_and_lessons_is_nothing(toy_extractor):
    learner = OnePassLearner(toy_extractor(DIM), config("never"), CLASSES)
    shown = images([0, 1, 2, 3], noise=0.3)
    order = torch.randperm(24, generator=torch.Generator().manual_seed(3))
    shuffled = LessonImages(shown.pixels[order], shown.labels[order])
    one, other = (learn(learner, start(learner), few).state for few in (shown, shuffled))
    for name in ("classes.mean", "classes.scatter", "readout.weight", "readout.bias"):
        torch.testing.assert_close(one[name], other[name], rtol=1e-4, atol=1e-4)
    assert one["readout.prior"].equal(other["readout.prior"])


def test_prior_and_scale_are_the_likeliest_of_the_lessons_left_out(toy_extractor):
    """By brute force, up to what one image more weighs: the learner without each in turn."""
    few = ReadoutConfig("whitened", priors=(0.03, 1.0, 30.0), scales=(0.1, 1.0))
    learner = OnePassLearner(toy_extractor(DIM), replace(config("never"), readout=few), CLASSES)
    shown, state = images([0, 1, 2], each=12, noise=0.4), start(learner)
    rows = torch.arange(36)
    x = learner.features(state, shown.batch(rows, PREPROCESSING))
    found = {}
    for prior in few.priors:
        for scale in few.scales:
            total = -8 * math.log10(prior) ** 2
            for number in range(36):
                others = rows != number
                known = learner.observe(state, x[others], shown.labels[others])
                known, _ = learner.solve(known, torch.tensor([prior]), torch.tensor([scale]))
                _, likely = learner.predict(known, x[number : number + 1])
                total += float(likely[0, shown.labels[number]].log())
            found[prior, scale] = total
    best = max(found, key=found.get)
    outcome = learn(learner, state, shown).state
    assert (float(outcome["readout.prior"]), float(outcome["readout.scale"])) == pytest.approx(best)
    expected = [[found[p, s] + 8 * math.log10(p) ** 2 for s in few.scales] for p in few.priors]
    torch.testing.assert_close(
        outcome["readout.evidence"], torch.tensor(expected), rtol=0.1, atol=0.5
    )


def test_one_class_is_not_told_apart_from_anything(learner):
    assert learn(learner, start(learner), images([0])).decision.accuracy is None


def test_single_pictures_leave_the_prior_as_it_was(learner):
    state = start(learner)
    outcome = learn(learner, state, images([0], each=1))
    assert outcome.decision.accuracy is None
    for name in ("readout.prior", "readout.scale"):
        assert outcome.state[name].equal(state[name])


def test_kept_pictures_move_their_class_to_where_they_are_now(toy_extractor):
    learner = OnePassLearner(toy_extractor(DIM), config("always"), CLASSES)
    state = learn(learner, start(learner), images([0, 1])).state
    kept = images([0, 1], each=5, seed=4)
    plain = learn(learner, state, images([2, 3])).state
    helped = learn(learner, state, images([2, 3]), kept).state
    assert plain["prompts.g"].equal(helped["prompts.g"])
    everything = images([0, 1], each=50, seed=5)
    x = learner.features(plain, everything.batch(torch.arange(100), PREPROCESSING))
    for label in (0, 1):
        right = x[everything.labels == label].mean(dim=0)
        apart = [(one["classes.mean"][label] - right).norm() for one in (plain, helped)]
        assert apart[1] < apart[0]


def test_a_class_beyond_the_capacity_is_refused(learner):
    with pytest.raises(InputError, match="class 6 is outside the learner's capacity of 6"):
        learn(learner, start(learner), LessonImages(images([0]).pixels, torch.full((6,), 6)))


@pytest.mark.parametrize("features", [("pooled", "patches"), ("pooled", "random20")])
def test_more_features_make_a_wider_state(toy_extractor, features):
    learner = OnePassLearner(toy_extractor(DIM), config(features=features), CLASSES)
    width = {"patches": 12, "random20": 20}[features[1]] + DIM
    _, state = reasons(learner, images([0, 1]))
    assert state["classes.scatter"].shape == (width, width)
    assert accuracy(learner, state, images([0, 1], seed=7)) == 1


def test_it_says_when_it_turns_from_looking_to_training_and_back(learner):
    state, events = start(learner), []
    for classes in ([0, 1], [2, 3]):
        state = learn_lesson(
            learner,
            state,
            images(classes),
            PREPROCESSING,
            TRAINING,
            0,
            progress=events.append,
            between=lambda: events.append("between"),
        ).state
    # Twelve images: looked at; two epochs by four; looked at again. The second lesson is familiar.
    assert events == [12, "between", *[4] * 6, "between", 12, 12]


def test_ages_and_utilities_of_tokens_live_on_from_lesson_to_lesson(toy_extractor):
    prompts = PromptConfig((0, 2), 2, (), 1, replacement_rate=0.01)
    learner = OnePassLearner(
        toy_extractor(DIM), replace(config("always"), prompts=prompts), CLASSES
    )
    state, steps = start(learner), 0
    for lesson, classes in enumerate(((0, 1), (2, 3), (1, 4, 5))):
        before = state
        shown = images(classes, seed=lesson)
        state = learn(learner, state, shown).state
        steps += TRAINING.steps(len(shown.labels))
        assert state["cbp.prompt_age"].eq(steps).all()
        assert not state["cbp.prompt_utility"].equal(before["cbp.prompt_utility"])
    assert state["cbp.prompt_utility"].gt(0).all()


def test_an_adaptation_may_start_from_another_prompt(toy_extractor):
    """What it then learns does not depend on the prompt of the lessons before."""
    learner = OnePassLearner(toy_extractor(DIM), config("always"), CLASSES)
    begin = learner.initial_state(RandomStream(8, 0))
    later, found = images((2, 3), seed=1), []
    for earlier in (images((0, 1)), images((4, 5))):
        known = learn(learner, start(learner), earlier).state
        found.append(learn(learner, known, later, begin=begin).state)
    assert found[0]["prompts.g"].equal(found[1]["prompts.g"])
    assert not found[0]["prompts.g"].equal(learn(learner, known, later).state["prompts.g"])
    assert found[0]["classes.count"].tolist() == [6, 6, 6, 6, 0, 0]
