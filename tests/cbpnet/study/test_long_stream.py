"""Contenders on a long stream of pictures, against what their states say by themselves."""

from dataclasses import replace

import pytest

from cbpnet.data.long_stream import make_long_stream
from cbpnet.data.pixels import load_batch, normalise
from cbpnet.host.errors import InputError
from cbpnet.host.random_streams import RandomStream
from cbpnet.method.config import (
    AdaptationConfig,
    CBPConfig,
    LearnerConfig,
    PromptConfig,
    ReadoutConfig,
)
from cbpnet.method.eager import EagerOnePass
from cbpnet.method.one_pass import OnePassLearner
from cbpnet.run.lesson import learn_lesson
from cbpnet.run.training import LessonImages, TrainingConfig
from cbpnet.study.long_stream import (
    LongStreamProtocol,
    StreamContender,
    learn_stream,
    run_long_stream,
    stream_contenders,
)

CONFIG = LearnerConfig(
    PromptConfig((0, 1), 3, ()),
    cbp=CBPConfig(maturity=2),
    readout=ReadoutConfig("whitened", priors=(1.0,), scales=(1.0,)),
    adaptation=AdaptationConfig("auto", fewest_classes=2, epochs=2, final_rate=0.1),
)
PROTOCOL = LongStreamProtocol(5, (2, 3), 3, 2, running_every=2)
TRAINING = TrainingConfig.of(CONFIG)
STEPS = 2 * 1  # epochs, and one batch of at most 9 images


@pytest.fixture(scope="module")
def backbone(micro_backbone):
    return micro_backbone()


@pytest.fixture(scope="module")
def datasets(picture_dataset):
    return [picture_dataset(12, 4), replace(picture_dataset(9, 2), name="others")]


@pytest.fixture(scope="module")
def stream(datasets):
    return PROTOCOL.stream(datasets, 0)


def eager(backbone, contender, classes):
    return EagerOnePass(OnePassLearner(backbone, contender.config(CONFIG), classes))


def accuracies(learner, state, pictures, preprocessing, among):
    """Image by image, among some classes."""
    right = 0
    for index, label in zip(pictures.indices, pictures.labels, strict=True):
        pixels = load_batch(pictures.source, [int(index)], preprocessing)
        x = learner.features(state, normalise(pixels, preprocessing.mean, preprocessing.std))
        scores = learner.predict(state, x)[0][0]
        right += max(among, key=lambda number: float(scores[number])) == label
    return right / len(pictures.labels)


def test_a_run_is_lesson_after_lesson_measured_right_after_it(backbone, stream):
    contender = StreamContender("always", replacement_rate=0.4)
    record = learn_stream(backbone, stream, contender, CONFIG, TRAINING, 2, seed=3)
    learner = eager(backbone, contender, len(stream.class_names))
    state, known, steps = learner.initial_state(RandomStream(3, 0)), set(), 0
    preprocessing = backbone.preprocessing
    for number, (lesson, found) in enumerate(zip(stream.lessons, record.lessons, strict=True)):
        pixels = load_batch(lesson.train.source, lesson.train.indices.tolist(), preprocessing)
        images = LessonImages(pixels, lesson.train.labels)
        state = learn_lesson(learner, state, images, preprocessing, TRAINING, 3).state
        known |= set(lesson.classes)
        tests = stream.tests[lesson.dataset].of_classes(lesson.classes)
        for among, accuracy in ((known, found.accuracy), (lesson.classes, found.own_accuracy)):
            assert accuracies(learner, state, tests, preprocessing, among) == pytest.approx(
                accuracy
            )
        assert (found.dataset, found.classes) == (lesson.dataset, len(lesson.classes))
        assert (found.adapted, found.reason) == (True, "always")
        assert found.drift > 0
        if number in {1, 3, 4}:
            right = images_seen = 0
            for name, pictures in stream.tests.items():
                part = pictures.of_classes(sorted(known))
                own = accuracies(learner, state, part, preprocessing, known)
                assert found.running[name] == pytest.approx(own)
                right, images_seen = right + own * len(part.labels), images_seen + len(part.labels)
            assert found.running["all"] == pytest.approx(right / images_seen)
        else:
            assert found.running == {}
        steps += STEPS
    # Nothing is replaced before a token is mature; here each token at most once a lesson.
    young = int((state["cbp.prompt_age"] < steps).sum())
    assert 0 < young <= sum(lesson.replaced for lesson in record.lessons)
    assert record.lessons[0].replaced == 0


def test_contenders_differ_in_when_they_adapt_and_from_what(backbone, stream):
    found = {
        name: learn_stream(backbone, stream, contender, CONFIG, TRAINING, 9, seed=0).lessons
        for name, contender in stream_contenders([1e-9]).items()
    }
    adapted = {name: [one.adapted for one in lessons] for name, lessons in found.items()}
    assert adapted["never"] == [False] * 5
    assert adapted["first"] == [True] + [False] * 4
    assert adapted["always"] == [True] * 5
    # A rate so low that nothing is due leaves every figure as it is.
    for kind in ("foreign", "always"):
        assert found[f"{kind}+cbp-1e-09"] == found[kind]
    # The first lesson is the same for all that adapt to it from the seed's prompt.
    assert found["auto"][0] == found["first"][0]
    assert replace(found["always"][0], reason="first") == found["first"][0]
    assert found["always+fresh"][1].drift != found["always"][1].drift
    assert [one.drift for one in found["never"]] == [0.0] * 5
    # Statistics touch the prompt only by way of the head's first rows, of classes met again.
    oracle = [one.drift for one in found["always+oracle"]]
    assert oracle == pytest.approx([one.drift for one in found["always"]], rel=0.1)


def test_recounted_statistics_are_those_of_all_images_through_the_last_prompt(backbone, stream):
    """The last lesson's outcome, were all images seen by a learner with its prompt alone."""
    contender = StreamContender("always", oracle=True)
    record = learn_stream(backbone, stream, contender, CONFIG, TRAINING, 9, 0)
    learner = eager(backbone, StreamContender("always"), len(stream.class_names))
    preprocessing = backbone.preprocessing
    state = learner.initial_state(RandomStream(0, 0))
    for number, lesson in enumerate(stream.lessons):
        pixels = load_batch(lesson.train.source, lesson.train.indices.tolist(), preprocessing)
        images = LessonImages(pixels, lesson.train.labels)
        state = learn_lesson(learner, state, images, preprocessing, TRAINING, 0).state
        fresh = learner.initial_state(RandomStream(0, 0))
        counted = fresh.replace({name: state[name] for name in state if "classes" not in name})
        for old in stream.lessons[: number + 1]:
            pixels = load_batch(old.train.source, old.train.indices.tolist(), preprocessing)
            x = learner.features(state, normalise(pixels, preprocessing.mean, preprocessing.std))
            counted = learner.observe(counted, x, old.train.labels)
        state = learner.solve(counted, state["readout.prior"], state["readout.scale"])[0]
    known = sorted({label for lesson in stream.lessons for label in lesson.classes})
    for name, accuracy in record.lessons[-1].running.items():
        if name != "all":
            tests = stream.tests[name]
            found = accuracies(learner, state, tests, preprocessing, known)
            assert found == pytest.approx(accuracy)


def test_kept_runs_are_not_run_again_and_an_interrupted_command_goes_on(
    backbone, datasets, tmp_path
):
    def run(names, seeds, settings=None):
        known = stream_contenders([0.4])
        return run_long_stream(
            backbone,
            datasets,
            PROTOCOL,
            CONFIG,
            TRAINING,
            {name: known[name] for name in names},
            seeds,
            tmp_path,
            settings or {"dtype": "float32"},
        )

    both = run(["never", "always+cbp-0.4"], [0, 1])
    files = sorted(path.name for path in (tmp_path / "runs").iterdir())
    names = ("always+cbp-0.4", "never")
    assert files == [f"{name}-seed{seed}.json" for name in names for seed in (0, 1)]
    (tmp_path / "runs" / "always+cbp-0.4-seed1.json").unlink()
    times = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "runs").iterdir()}
    assert run(["never", "always+cbp-0.4"], [0, 1]) == both
    for name, time in times.items():
        assert (tmp_path / "runs" / name).stat().st_mtime_ns == time
    assert both["never"][0] != both["never"][1]
    with pytest.raises(
        InputError, match=r"never-seed0\.json was run with other settings \(dtype\)"
    ):
        run(["never"], [0], {"dtype": "bfloat16"})


def test_a_data_set_too_small_is_refused_before_anything_runs(backbone, datasets, tmp_path):
    long = replace(PROTOCOL, lessons=100)
    with pytest.raises(InputError, match="the data sets give"):
        run_long_stream(
            backbone, datasets, long, CONFIG, TRAINING, stream_contenders([]), [0], tmp_path, {}
        )
    assert not list((tmp_path / "runs").iterdir())
    assert make_long_stream(datasets, 5, (2, 3), 3, 2).lessons
