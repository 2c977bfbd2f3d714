"""The benchmark: rows equal direct computations, runs are shared, kept and never mixed."""

import dataclasses

import numpy as np
import pytest
import torch

import cbpnet.run.contender
import cbpnet.study.comparison
from cbpnet.backbone.presets import get_preset
from cbpnet.backbone.vit import load_backbone
from cbpnet.host.errors import InputError
from cbpnet.method.eager import EagerLearner, EagerOnePass
from cbpnet.method.learner import Learner
from cbpnet.method.one_pass import OnePassLearner
from cbpnet.run.contender import LearnerContender
from cbpnet.run.metrics import MethodKind
from cbpnet.run.one_pass_contender import OnePassContender
from cbpnet.run.protocol import ProtocolRecord, run_protocol
from cbpnet.run.queries import query_stream
from cbpnet.study.closed_form import LinearProbe, NearestClassMean, RanPAC, Ridge
from cbpnet.study.comparison import ComparisonProtocol, run_benchmark
from cbpnet.study.methods import LEARNERS, METHODS, ONE_PASS, PEERS, VARIANTS, adapting
from cbpnet.study.oracle import OracleContender

CONFIG = get_preset("micro").config("cbpnet")
_PRESET = get_preset("micro").config()
ONE_PASS_CONFIG = dataclasses.replace(
    _PRESET, adaptation=dataclasses.replace(_PRESET.adaptation, fewest_classes=2)
)
PROTOCOL = ComparisonProtocol(
    classes_per_task=(2, 3),
    train_per_class=6,
    test_per_class=3,
    class_order="natural",
    holdout="test",
    epochs=1,
    batch_size=5,
    keep=2,
    projection_size=30,
)


@pytest.fixture
def benchmark(micro_backbone, picture_dataset, tmp_path):
    """Run methods on the picture data set, with anything else than usual as options."""

    def run(methods, seeds=(0,), **options):
        arguments = {
            "backbone": micro_backbone(torch.float32),
            "dataset": picture_dataset(),
            "protocol": PROTOCOL,
            "cbpnet": CONFIG,
            "one_pass": ONE_PASS_CONFIG,
            "folder": tmp_path / "out",
            "settings": {"comment": "none"},
        }
        return run_benchmark(methods=methods, seeds=seeds, **(arguments | options))

    return run


@pytest.fixture
def trainings(monkeypatch):
    """The configurations with which a task was learnt, in order."""
    configs = []
    learn_task = cbpnet.run.contender.learn_task

    def counted(learner, *arguments):
        configs.append(learner.config)
        return learn_task(learner, *arguments)

    monkeypatch.setattr(cbpnet.run.contender, "learn_task", counted)
    return configs


def queries_of(backbone, dataset, seed):
    stream = PROTOCOL.stream(dataset, seed)
    learner = EagerLearner(Learner(backbone, CONFIG, 5, 2))
    return stream, query_stream(learner, stream, backbone.preprocessing, lambda images: None)


def test_closed_form_rows_equal_a_direct_computation(benchmark, micro_backbone, picture_dataset):
    results = {run.method: run for run in benchmark(list(PEERS), seeds=[3])}
    stream, queries = queries_of(micro_backbone(torch.float32), picture_dataset(), 3)
    features = [torch.from_numpy(query).double() for query in (*queries.train, *queries.test)]
    labels = [torch.from_numpy(task.train_labels) for task in stream.tasks]
    for name, build in {
        "ncm": lambda: NearestClassMean(64, 5),
        "ridge": lambda: Ridge(64, 5),
        "ranpac": lambda: RanPAC(64, 5, 30, seed=3),
        "probe": lambda: LinearProbe(64, 5),
    }.items():
        for after in range(2):
            peer = build()  # on all images so far at once
            peer.fit_task(torch.cat(features[: after + 1]), torch.cat(labels[: after + 1]))
            for task in stream.tasks[: after + 1]:
                guesses = peer.scores(features[2 + task.index]).argmax(1).numpy()
                expected = np.mean(guesses == task.test_labels)
                assert results[name].matrix[after, task.index] == expected
        assert np.isnan(results[name].matrix[0, 1])
        assert results[name].test_images == (6, 9)
        assert results[name].trainable_share is None


def test_learner_rows_equal_runs_of_their_own(benchmark, micro_backbone, picture_dataset):
    results = {run.method: run for run in benchmark(list(LEARNERS), seeds=[3])}
    backbone = micro_backbone(torch.float32)
    stream, queries = queries_of(backbone, picture_dataset(), 3)
    for name, method in LEARNERS.items():
        learner = EagerLearner(Learner(backbone, VARIANTS[method.variant](CONFIG), 5, 2))
        prep, training = backbone.preprocessing, PROTOCOL.training(CONFIG)
        contender = LearnerContender(
            learner, stream, prep, training, 3, {"alone": method.readout}, queries
        )
        record = ProtocolRecord(tuple(run_protocol(contender, stream)))
        alone = record.result("alone", stream, 3)
        np.testing.assert_array_equal(results[name].matrix, alone.matrix)
        assert results[name].prompt_selection == alone.prompt_selection
        statistics = 4 * (5 + 5 + 5 * 64 + 64 * 200 + 265 * 265 + 5 * 265)
        assert results[name].extra["statistics_bytes"] == statistics
    # G 2 x 2 x 5 x 64, E 3 x 2 x 5 x 64, key 64; with a block they are shorter.
    assert results["dualprompt"].trainable_share == (1280 + 1920 + 64) / 214_464
    assert results["cbpnet"].trainable_share == (512 + 768 + 64 + 2064) / 214_464


def test_one_pass_rows_equal_runs_of_their_own(benchmark, micro_backbone, picture_dataset):
    results = {run.method: run for run in benchmark(list(ONE_PASS), seeds=[3])}
    backbone = micro_backbone(torch.float32)
    stream = PROTOCOL.stream(picture_dataset(), 3)
    for name, method in ONE_PASS.items():
        config = adapting(ONE_PASS_CONFIG, method.adaptation)
        contender = OnePassContender(
            EagerOnePass(OnePassLearner(backbone, config, 5)),
            stream,
            backbone.preprocessing,
            PROTOCOL.training(config),
            3,
            {"alone": method.readout},
            keep=2,
        )
        whole = OracleContender(contender) if method.anew else contender
        record = ProtocolRecord(tuple(run_protocol(whole, stream)))
        alone, found = record.result("alone", stream, 3), results[name]
        np.testing.assert_array_equal(found.matrix, alone.matrix)
        assert found.learning_forwards == alone.learning_forwards
        assert found.predicting_forwards == 1
        assert found.lessons_adapted == alone.lessons_adapted
        never = method.adaptation == "never"
        # G 5 x 2 x 5 x 64.
        assert found.trainable_share == (None if never else 3200 / 214_464)
        # Four features of 64; five priors times seven scales, and the two in use.
        assert found.extra == {"statistics_bytes": 4 * (5 + 5 * 256 + 256**2 + 5 * 257 + 35 + 2)}
    assert results["adapt-never"].kind is MethodKind.CLOSED_FORM
    assert results["oracle"].kind is MethodKind.UPPER_BOUND
    assert results["one-pass+rls"].kind is MethodKind.GRADIENT
    assert results["adapt-never"].learning_forwards == 1.0
    assert results["adapt-always"].lessons_adapted == 2


def test_one_pass_methods_alone_need_no_query_features(benchmark, monkeypatch):
    def refuse(*arguments):
        raise AssertionError("query features were computed")

    monkeypatch.setattr(cbpnet.study.comparison, "query_stream", refuse)
    (run,) = benchmark(["adapt-never"])
    assert run.lessons_adapted == 0


def test_methods_of_one_variant_share_one_training(benchmark, trainings):
    benchmark(METHODS)
    variants = dict.fromkeys(method.variant for method in LEARNERS.values())
    expected = [VARIANTS[name](CONFIG) for name in variants for task in range(2)]
    assert trainings == expected


def test_methods_of_one_adaptation_share_one_run(benchmark, monkeypatch):
    lessons, learn = [], OnePassContender.learn

    def counted(contender, *arguments):
        lessons.append(contender.learner.config.adaptation.kind)
        return learn(contender, *arguments)

    monkeypatch.setattr(OnePassContender, "learn", counted)
    benchmark(list(ONE_PASS))
    kinds = ["auto", "first", "always", "never", "auto"]  # the last is the oracle
    assert lessons == [kind for kind in kinds for task in range(2)]


def test_results_are_in_the_asked_order_each_once(benchmark):
    runs = benchmark(["ridge", "ncm", "ridge"], seeds=[2, 0, 2])
    order = [(run.method, run.seed) for run in runs]
    assert order == [("ridge", 2), ("ridge", 0), ("ncm", 2), ("ncm", 0)]


def test_kept_runs_come_back_as_they_were(benchmark, trainings):
    first = benchmark(["ncm", "cbpnet"])
    again = benchmark(["ncm", "cbpnet"])
    assert len(trainings) == 2
    for run, kept in zip(first, again, strict=True):
        for field in dataclasses.fields(run):
            before, after = getattr(run, field.name), getattr(kept, field.name)
            if field.name == "matrix":
                np.testing.assert_array_equal(before, after)
            else:
                assert before == after
                assert type(before) is type(after)


def test_an_interrupted_benchmark_runs_only_what_is_missing(benchmark, trainings, monkeypatch):
    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(LearnerContender, "learn", interrupt)
        with pytest.raises(KeyboardInterrupt):
            benchmark(["cbpnet", "ncm"])
    fitted = []
    fit_task = NearestClassMean.fit_task
    monkeypatch.setattr(
        NearestClassMean, "fit_task", lambda *args: fitted.append(1) or fit_task(*args)
    )
    benchmark(["cbpnet", "ncm"])
    assert (len(trainings), fitted) == (2, [])
    benchmark(["cbpnet", "cbpnet+rls"], seeds=[0, 1])
    assert len(trainings) == 2 + 2 + 2  # the readout of seed 0, and all of seed 1


def other_weights():
    return load_backbone("vit_micro_patch8_32", pretrained=False)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"settings": {"comment": "other"}}, "comment"),
        ({"settings": {"comment": "none", "more": 1}}, "more"),
        ({"protocol": dataclasses.replace(PROTOCOL, projection_size=31)}, "protocol"),
        ({"protocol": dataclasses.replace(PROTOCOL, train_per_class=5)}, "images, protocol"),
        ({"protocol": dataclasses.replace(PROTOCOL, keep=3)}, "protocol"),
        ({"one_pass": adapting(ONE_PASS_CONFIG, "always")}, "one-pass"),
        ({"cbpnet": VARIANTS["dualprompt"](CONFIG)}, "cbpnet"),
        ({"backbone": other_weights()}, "weights"),
    ],
)
def test_runs_of_other_settings_are_refused_before_anything_runs(
    benchmark, trainings, tmp_path, changes, named
):
    benchmark(["ncm"], seeds=[1])
    kept = tmp_path / "out" / "runs" / "ncm-seed1.json"
    before = kept.read_bytes()
    with pytest.raises(InputError, match=rf"seed1\.json was run with other settings \({named}\)"):
        benchmark(["cbpnet", "ncm"], seeds=[0, 1], **changes)
    assert trainings == []
    assert kept.read_bytes() == before


def test_images_are_told_by_their_pixels_and_not_by_their_names(benchmark, picture_dataset):
    (first,) = benchmark(["ncm"])
    dataset = picture_dataset()
    renamed = dataclasses.replace(dataset.test, title="photo")
    (again,) = benchmark(["ncm"], dataset=dataclasses.replace(dataset, test=renamed))
    assert again.train_seconds == first.train_seconds  # it was kept
    changed = dataclasses.replace(dataset.test, pixels=255 - dataset.test.pixels)
    with pytest.raises(InputError, match=r"other settings \(images\)"):
        benchmark(["ncm"], dataset=dataclasses.replace(dataset, test=changed))


@pytest.mark.parametrize("content", ["", "[]", '{"settings": {}, "record": {}}', '{"record": 3}'])
def test_a_broken_kept_run_is_refused(benchmark, tmp_path, content):
    benchmark(["ncm"])
    kept = tmp_path / "out" / "runs" / "ncm-seed0.json"
    kept.write_text(content)
    with pytest.raises(InputError, match=r"ncm-seed0\.json is not a kept run .*; delete it"):
        benchmark(["ncm"])


def test_bad_input_is_refused_before_anything_runs(benchmark, tmp_path, picture_dataset, trainings):
    with pytest.raises(InputError, match="method 'ewc' is unknown"):
        benchmark(["cbpnet", "ewc"])
    with pytest.raises(InputError, match=r"classes per task are \[2, 2\]"):
        benchmark(["cbpnet"], protocol=dataclasses.replace(PROTOCOL, classes_per_task=(2, 2)))
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot make the folder"):
        benchmark(["cbpnet"], folder=tmp_path / "file")
    dataset = picture_dataset()
    first = dataset.test.labels < 2
    test = dataclasses.replace(
        dataset.test, pixels=dataset.test.pixels[first], labels=dataset.test.labels[first]
    )
    with pytest.raises(InputError, match="task 2 of 2 has no test image"):
        benchmark(["cbpnet"], dataset=dataclasses.replace(dataset, test=test))
    assert trainings == []
