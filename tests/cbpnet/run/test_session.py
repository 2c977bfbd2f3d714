"""A session that is interrupted and resumed ends as one that is not, and mixes no two runs."""

import dataclasses

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from cbpnet.backbone.presets import get_preset
from cbpnet.backbone.vit import load_backbone
from cbpnet.data.pixels import load_batch, normalise
from cbpnet.data.stream import make_stream
from cbpnet.host.errors import InputError
from cbpnet.method.config import LearnerConfig
from cbpnet.method.eager import EagerLearner, EagerOnePass
from cbpnet.method.learner import Learner
from cbpnet.method.one_pass import OnePassLearner
from cbpnet.method.tensors import as_tensors, tensor_of
from cbpnet.run.contender import LearnerContender
from cbpnet.run.one_pass_contender import OnePassContender
from cbpnet.run.protocol import TaskAccuracy, run_protocol
from cbpnet.run.session import TrainingSession
from cbpnet.run.state_file import load_state, save_state
from cbpnet.run.state_info import StateInfo
from cbpnet.run.training import TrainingConfig

CONFIG = get_preset("micro").config("cbpnet")
TRAINING = TrainingConfig(epochs=2, batch_size=4, micro_batch=3, flip=True)


@pytest.fixture
def session(micro_backbone, picture_dataset):
    """Open a session on three tasks of two, two and one classes."""

    def build(path, dataset=None, backbone=None, config=CONFIG, **options):
        stream = make_stream(dataset or picture_dataset(), 2, seed=1)
        backbone = backbone or micro_backbone(torch.float32)
        run = {"arithmetic": "float32", "training": TRAINING, "seed": 3}
        run["readouts"] = {"network": "none"}
        run |= {name: options.pop(name) for name in run.keys() & options.keys()}
        capacity = {"classes": len(stream.class_names), "tasks": len(stream.tasks)} | options
        identity = StateInfo(
            backbone=backbone.name,
            weights=backbone.weights_fingerprint,
            dim=backbone.dim,
            preprocessing=backbone.preprocessing,
            config=config,
            class_names=(),
            progress={},
            **capacity,
        )
        arithmetic, rest = run.pop("arithmetic"), (stream, backbone.preprocessing)
        if config.one_pass:
            learner = EagerOnePass(OnePassLearner(backbone, config, capacity["classes"]))
            contender = OnePassContender(learner, *rest, **run)
        else:
            learner = EagerLearner(Learner(backbone, config, **capacity))
            contender = LearnerContender(learner, *rest, **run)
        return TrainingSession(path, contender, identity, arithmetic)

    return build


def content(path):
    """All that a state file holds, bit for bit; the order of its metadata is not the same twice."""
    state, info = load_state(path)
    return {name: value.tobytes() for name, value in state.items()}, info


def learn_next(session, *progress):
    session.learn(session.contender.stream.tasks[session.finished], *progress)


def finish(session):
    while session.finished < len(session.contender.stream.tasks):
        learn_next(session)
    return content(session.path)


@pytest.fixture
def whole(session, tmp_path):
    """What a run that was never interrupted wrote."""
    return finish(session(tmp_path / "whole"))


@pytest.mark.parametrize("adaptation", ["cbpnet", "auto", "always"])
def test_every_session_goes_on_after_the_last_finished_task(session, tmp_path, adaptation):
    config = get_preset("micro").config(adaptation)
    whole = finish(session(tmp_path / "whole", config=config))
    path = tmp_path / "state"
    for finished in range(3):
        torch.manual_seed(finished)  # the libraries' global generators have no say
        np.random.seed(finished)
        part = session(path, config=config)
        assert part.finished == finished
        learn_next(part)
        assert part.finished == finished + 1
    assert content(path) == whole
    done = session(path, config=config)
    assert done.finished == 3
    state = done.contender.state
    assert {name: value.tobytes() for name, value in state.items()} == whole[0]


@pytest.mark.parametrize("adaptation", ["cbpnet", "always"])
@pytest.mark.parametrize("images", [1, 15, 40])
def test_an_interruption_anywhere_in_a_task_loses_that_task_only(
    session, tmp_path, images, adaptation
):
    config = get_preset("micro").config(adaptation)
    whole = finish(session(tmp_path / "whole", config=config))
    path = tmp_path / "state"
    first = session(path, config=config)
    learn_next(first)
    before = path.read_bytes()
    seen = 0

    def interrupt(count):
        nonlocal seen
        seen += count
        if seen >= images:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        learn_next(first, interrupt)
    assert (first.finished, path.read_bytes()) == (1, before)
    assert finish(session(path, config=config)) == whole


def test_a_file_that_cannot_be_written_leaves_the_session_where_it_was(session, tmp_path):
    part = session(tmp_path / "state")
    learn_next(part)
    before = dict(part.contender.state)
    part.path = tmp_path / "nowhere" / "state"
    with pytest.raises(InputError, match="cannot write"):
        learn_next(part)
    assert part.finished == 1
    state = part.contender.state
    assert all(np.array_equal(state[name], value) for name, value in before.items())


def test_progress_counts_each_image_once_for_its_query_and_once_an_epoch(session, tmp_path):
    counts = []
    learn_next(session(tmp_path / "state"), counts.append)
    assert sum(counts) == 14 * (1 + TRAINING.epochs)


def test_the_file_says_what_it_holds(session, tmp_path):
    part = session(tmp_path / "state", classes=7, tasks=4)
    learn_next(part)
    learn_next(part)
    state, info = load_state(part.path)
    assert info.class_names == ("a", "b", "c", "d")
    assert (info.classes, info.tasks, info.progress["finished"]) == (7, 4, 2)
    assert state["tasks.known"].tolist() == [1, 1, 0, 0]
    assert state["classes.task"].tolist() == [0, 0, 1, 1, -1, -1, -1]
    assert state["classes.count"].tolist() == [7, 7, 7, 7, 0, 0, 0]


def other_weights():
    return load_backbone("vit_micro_patch8_32", pretrained=False)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"seed": 4}, "seed was 3 and is 4 now"),
        ({"arithmetic": "int8"}, "dtype was 'float32' and is 'int8' now"),
        ({"training": dataclasses.replace(TRAINING, epochs=3)}, "epochs was 2 and is 3 now"),
        ({"training": dataclasses.replace(TRAINING, micro_batch=4)}, "micro_batch was 3"),
        ({"config": LearnerConfig()}, r"made with config\.\S+ .*, this learner has "),
        ({"classes": 6}, "made with classes 5, this learner has 6"),
        ({"tasks": 4}, "made with tasks 3, this learner has 4"),
        ({"backbone": other_weights()}, "weights '[0-9a-f]+', this learner has '[0-9a-f]+'"),
    ],
)
def test_a_file_of_another_run_is_refused_and_kept(session, tmp_path, changes, reason):
    path = tmp_path / "state"
    learn_next(session(path))
    before = path.read_bytes()
    with pytest.raises(
        InputError, match=rf"state is of another run: .*{reason}.*name another file"
    ):
        session(path, **changes)
    assert path.read_bytes() == before


def test_other_images_are_another_run(session, tmp_path, picture_dataset):
    path = tmp_path / "state"
    learn_next(session(path))
    reason = r"training images of each task was .14, 14, 7. and is .16"
    with pytest.raises(InputError, match=reason):
        session(path, dataset=picture_dataset(train=8))
    renamed = dataclasses.replace(picture_dataset(), class_names=("a", "b", "c", "d", "f"))
    with pytest.raises(InputError, match="images was '"):
        session(path, dataset=renamed)


def test_a_state_that_does_not_say_how_it_was_trained_is_refused(session, tmp_path):
    path = tmp_path / "state"
    learn_next(session(path))
    state, info = load_state(path)
    save_state(path, state, dataclasses.replace(info, progress={"finished": 1}))
    with pytest.raises(InputError, match="does not say how it was trained"):
        session(path)


def test_a_foreign_file_is_refused_and_kept(session, tmp_path):
    path = tmp_path / "state"
    path.write_bytes(b"a letter to grandmother")
    with pytest.raises(InputError, match="cannot be read as safetensors"):
        session(path)
    assert path.read_bytes() == b"a letter to grandmother"


def test_a_one_pass_learner_needs_no_room_for_tasks(session, tmp_path):
    part = session(tmp_path / "state", config=get_preset("micro").config(), tasks=1)
    finish(part)
    assert part.contender.state["lessons.count"] == 3


@pytest.mark.parametrize(("capacity", "needed"), [({"classes": 4}, 5), ({"tasks": 2}, 3)])
def test_too_small_a_capacity_is_refused(session, tmp_path, capacity, needed):
    ((name, value),) = capacity.items()
    with pytest.raises(InputError, match=f"capacity is {value} {name}; .* need {needed}"):
        session(tmp_path / "state", **capacity)


@pytest.mark.parametrize("kind", ["none", "rls"])
def test_a_resumed_session_is_tested_as_one_image_at_a_time(
    session, micro_backbone, tmp_path, kind
):
    readouts, config = (
        {"own": kind, "by means": "means"},
        dataclasses.replace(CONFIG, readout=dataclasses.replace(CONFIG.readout, kind=kind)),
    )
    learner = Learner(micro_backbone(torch.float32), config, classes=5, tasks=3)
    for finished in (1, 2):
        part = session(tmp_path / "state", config=config, readouts=readouts)
        learn_next(part)
        inner, state = part.contender, as_tensors(part.contender.state)
        for task in inner.stream.tasks[:finished]:
            right, similar, selected = [], [], []
            for index, label in zip(task.test, task.test_labels, strict=True):
                prep = inner.preprocessing
                pixels = load_batch(inner.stream.test_source, [index], prep)
                image = tensor_of(normalise(pixels, prep.mean, prep.std))
                query = learner.query(image)
                scores, chosen = learner.predict(state, image, query)
                right.append(int(scores.argmax()) == label)
                scores, _ = learner.predict(state, image, query, "means")
                similar.append(int(scores.argmax()) == label)
                selected.append(bool(chosen[0, task.index]))
            expected = {"own": np.mean(right), "by means": np.mean(similar)}
            found = TaskAccuracy(task.index, expected, np.mean(selected), forwards=2)
            assert part.classify(task) == found


@pytest.mark.parametrize(("finished", "first"), [(0, 0), (2, 2), (2, 1), (3, 2), (3, 3)])
def test_progress_counts_the_images_that_were_to_come(session, tmp_path, finished, first):
    for _ in range(finished):
        learn_next(session(tmp_path / "state"))
    part, counts = session(tmp_path / "state"), []
    promised = part.contender.images_to_come(first)
    outcomes = list(run_protocol(part, part.contender.stream, counts.append, first))
    assert [outcome.task for outcome in outcomes] == list(range(first, 3))
    assert sum(counts) == promised
    tests = [8, 16, 20][first:]  # four images a class
    images = [14, 14, 7][finished:]
    assert promised == sum(tests) + 20 * bool(tests) + sum(images) * (1 + TRAINING.epochs)


def test_tasks_without_test_images_are_left_out(session, tmp_path, picture_dataset):
    dataset = picture_dataset()
    second = dataset.test.labels < 2
    test = dataclasses.replace(
        dataset.test, pixels=dataset.test.pixels[second], labels=dataset.test.labels[second]
    )
    part = session(tmp_path / "state", dataset=dataclasses.replace(dataset, test=test))
    outcomes = list(run_protocol(part, part.contender.stream))
    assert [[found.task for found in outcome.tested] for outcome in outcomes] == [[0]] * 3
