"""An exported bundle against the learner in PyTorch on the true backbone, and what is refused."""

import math
from dataclasses import replace

import numpy as np
import pytest

import mobile.export.exporter
from cbpnet.host.errors import InputError
from cbpnet.host.random_streams import RandomStream
from cbpnet.method.eager import EagerLearner
from cbpnet.method.layout import methods_of
from cbpnet.method.learner import Learner
from mobile.device.bundle import read_manifest
from mobile.device.program import Program
from mobile.device.program_learner import ProgramLearner
from mobile.export.bundle_learner import bundle_functions
from mobile.export.exporter import ExportSettings, export_bundle
from mobile.export.tracing import trace
from mobile.targets import resolve_target

CLASSES, TASKS = 6, 3


class AsLowered:
    """The result of a lowering that took place before: the program of a bundle."""

    def __init__(self, bundle, program):
        self.delegation = bundle.delegation
        self.program = program

    def serialise(self):
        return self.program


@pytest.fixture
def eager(small_backbone, server):
    """The learner in PyTorch, on the backbone itself and not on its frozen form."""
    return EagerLearner(Learner(small_backbone, server.info.config, CLASSES, TASKS))


@pytest.fixture
def task():
    """Images and labels of two classes that the server has not seen."""
    labels = np.arange(10) % 2 + 3
    brightness = (labels - 3.5).astype(np.float32).reshape(-1, 1, 1, 1)
    return RandomStream(7, 0).normal(10, 3, 16, 16) + brightness, labels


ONE = np.ones(1, np.float32)


def begun(learner, state, images, labels):
    query = learner.query(images)
    state = learner.observe(state, query, labels)
    members = np.isin(np.arange(CLASSES), labels).astype(np.float32)
    return query, learner.begin_task(state, ONE, members)


def test_fp32_predictions_are_those_of_the_learner_in_pytorch(fp32_export, eager, task, server):
    bundle, (images, _) = ProgramLearner(Program(fp32_export.path)), task
    state = bundle.stored_state()
    query = eager.query(images)
    expected, chosen = eager.scores(state, images, query, ["none", "rls"])
    np.testing.assert_allclose(bundle.query(images), query, rtol=0, atol=1e-4)
    found, task_found = bundle.scores(state, images, query, ["none", "rls"])
    for readout, scores in expected.items():
        assert np.isfinite(scores).sum() == 3 * len(images)
        np.testing.assert_allclose(found[readout], scores, rtol=0, atol=1e-4)
    assert np.array_equal(task_found, chosen)


def test_fp32_learns_what_the_learner_in_pytorch_learns(fp32_export, eager, task):
    """Fifty steps, in which units are replaced: every tensor of the state to 1e-3."""
    bundle, (images, labels) = ProgramLearner(Program(fp32_export.path)), task
    start = bundle.stored_state()
    ends = []
    for learner in (bundle, eager):
        stream = RandomStream(8, 0)
        query, state = begun(learner, start, images, labels)
        for _ in range(50):
            rows = stream.permutation(len(images))[:5]
            sums = learner.gradients(
                state, images[rows], query[rows], labels[rows], learner.zero_sums()
            )
            noise = stream.uniform(*learner.noise_shape)
            state = learner.update(state, sums, noise, ONE)
        ends.append(state)
    found, expected = ends
    assert (expected["cbp.age"] < 20).any()  # some were replaced lately
    for name, value in expected.items():
        difference = np.linalg.norm(found[name] - value)
        assert difference < 1e-3 * max(np.linalg.norm(value), 1e-12), name


def test_int8_gradients_point_where_those_of_the_fp32_backbone_do(
    int8_bundle, eager, task, small_backbone
):
    bundle, (images, labels) = ProgramLearner(Program(int8_bundle)), task
    start = bundle.stored_state()
    query, state = begun(eager, start, images, labels)
    stream = RandomStream(9, 0)
    stirred = {
        name: value + np.float32(0.1) * stream.normal(*value.shape)
        for name, value in state.items()
        if name.startswith(("block.", "prompts.keys"))
    }
    state = state.replace(stirred)
    expected = eager.gradients(state, images, query, labels, eager.zero_sums())
    found = bundle.gradients(state, images, query, labels, bundle.zero_sums())
    for name in Learner(small_backbone, eager.config, CLASSES, TASKS).trainables:
        ours, exact = found[name].ravel(), expected[name].ravel()
        cosine = ours @ exact / np.linalg.norm(ours) / np.linalg.norm(exact)
        assert cosine > (0.95 if name.startswith("prompts.") else 0.98), name
        assert not np.array_equal(ours, exact) or name == "prompts.key"


@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_delegates_are_few_and_hold_the_trunk(int8_bundle, fp32_export, precision):
    path = int8_bundle if precision == "int8" else fp32_export.path
    manifest = read_manifest(path)
    assert manifest.precision == precision
    assert manifest.methods.keys() == set(methods_of(manifest.config))
    calls = {name: method.delegate_calls for name, method in manifest.methods.items()}
    assert calls["query"] == calls["predict"] == 1
    assert 2 <= calls["gradients"] <= 12
    assert all(calls[name] == 0 for name in ("initial_state", "observe", "begin_task", "update"))
    for name in ("query", "predict", "gradients"):
        method = manifest.methods[name]
        assert method.undelegated_macs < 0.15 * method.macs, name
        assert not {"linear", "addmm"} & method.undelegated.keys()


def test_weights_are_stored_once(fp32_export, small_backbone):
    """Three methods hold the trunk's weights, one of them twice, once for each direction."""
    weights = 4 * sum(parameter.numel() for parameter in small_backbone.parameters())
    assert weights < fp32_export.weight_bytes < 2.2 * weights
    graphs = 260_000  # of seven methods, whatever the trunk's size
    assert fp32_export.bytes == fp32_export.path.stat().st_size
    assert fp32_export.bytes < graphs + fp32_export.weight_bytes
    assert fp32_export.bytes < graphs + 4 * weights - weights


def test_the_manifest_describes_the_bundle(int8_bundle, fp32_export, small_backbone, server):
    for path in (int8_bundle, fp32_export.path):
        manifest = read_manifest(path)
        assert manifest.target == "xnnpack"
        assert manifest.backbone.weights == small_backbone.weights_fingerprint
        assert manifest.backbone.parameters == small_backbone.parameters_without_head
        assert manifest.preprocessing == small_backbone.preprocessing
        assert (manifest.classes, manifest.tasks, manifest.image_size) == (CLASSES, TASKS, 16)
        assert manifest.head_parameters == CLASSES * small_backbone.dim
        layout = Learner(small_backbone, manifest.config, CLASSES, TASKS).layout
        assert manifest.layout == layout
        trained = sum(
            math.prod(layout[name][1:] if name in ("prompts.e", "prompts.keys") else layout[name])
            for name in layout
            if name.startswith(("prompts.", "block."))
        )
        assert manifest.trainable_parameters == trained
        share = trained / small_backbone.parameters_without_head
        assert manifest.trainable_fraction == pytest.approx(share)
        assert {"torch", "executorch", "torchao"} <= manifest.versions.keys()
    assert read_manifest(fp32_export.path).class_names == server.info.class_names


def test_two_bundles_alternate_without_disturbing_each_other(int8_bundle, fp32_export, task):
    images, labels = task

    def answers(learner):
        state = learner.stored_state()
        query, state = begun(learner, state, images, labels)
        yield query
        for _ in range(3):
            sums = learner.gradients(state, images, query, labels, learner.zero_sums())
            yield sums["prompts.e"]
            noise = np.full(learner.noise_shape, 0.3, np.float32)
            state = learner.update(state, sums, noise, ONE)
            yield learner.predict(state, images, query)[0]

    paths = (int8_bundle, fp32_export.path)
    alone = [list(answers(ProgramLearner(Program(path)))) for path in paths]
    pairs = list(zip(*(answers(ProgramLearner(Program(path))) for path in paths), strict=True))
    for expected, found in zip(zip(*alone, strict=True), pairs, strict=True):
        assert all(map(np.array_equal, expected, found))


def test_an_older_file_survives_an_export_that_fails(
    fp32_export, program_in, small_backbone, server, tmp_path, monkeypatch
):
    """The program is whole but of another state than asked for: verifying it is what fails."""
    traced = {}  # of both exports: the functions are the same

    def trace_once(function, plain):
        if function.name not in traced:
            traced[function.name] = trace(function)
        return traced[function.name]

    monkeypatch.setattr(mobile.export.exporter, "trace", trace_once)
    lowered = AsLowered(fp32_export, program_in(fp32_export.path))
    monkeypatch.setattr(mobile.export.exporter, "lower", lambda *_: lowered)
    path = tmp_path / "x.pte"
    path.write_bytes(b"older")
    target, names = resolve_target("xnnpack", "fp32"), server.info.class_names
    settings = ExportSettings(target, CLASSES, TASKS, 2, names)
    other = server.grown.replace({"head.weight": server.grown["head.weight"] + 1})
    with pytest.raises(InputError, match=r"initial_state has another head\.weight"):
        export_bundle(path, small_backbone, server.info.config, other, settings)
    assert path.read_bytes() == b"older"
    assert [file.name for file in tmp_path.iterdir()] == ["x.pte"]

    written = export_bundle(path, small_backbone, server.info.config, server.grown, settings)
    assert path.read_bytes() == fp32_export.path.read_bytes()
    assert written.bytes == path.stat().st_size


def test_a_trainable_that_was_baked_in_is_refused(small_backbone, server, tmp_path, monkeypatch):
    def closed(learner, state, *shape):
        """The true functions, but `gradients` has the head's weight of `state` for a constant."""
        functions = {part.name: part for part in bundle_functions(learner, state, *shape)}
        gradients = functions["gradients"]
        fixed = {"state.head.weight": state["head.weight"]}
        functions["gradients"] = replace(
            gradients, call=lambda given: gradients.call({**given, **fixed})
        )
        return [functions[name] for name in ("gradients", "update")]

    def lower(*_):
        raise AssertionError("it should have been refused before")

    monkeypatch.setattr(mobile.export.exporter, "bundle_functions", closed)
    monkeypatch.setattr(mobile.export.exporter, "lower", lower)
    with pytest.raises(InputError, match=r"state\.head\.weight was baked into the program"):
        export_bundle(
            tmp_path / "x.pte",
            small_backbone,
            server.info.config,
            server.grown,
            ExportSettings(resolve_target("xnnpack", "fp32"), CLASSES, TASKS),
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "value", "least"), [("classes", 1, 2), ("tasks", 0, 1), ("micro_batch", 0, 1)]
)
def test_a_capacity_that_cannot_learn_is_refused(name, value, least):
    arguments = {"classes": 2, "tasks": 1, "micro_batch": 1}
    ExportSettings(resolve_target("xnnpack", "int8"), **arguments)
    with pytest.raises(InputError, match=f"{name} of a bundle is {value}; .* at least {least}"):
        ExportSettings(resolve_target("xnnpack", "int8"), **arguments | {name: value})
