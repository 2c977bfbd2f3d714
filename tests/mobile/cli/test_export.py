"""`cbpnet-mobile export`: what it writes and prints, and that bad input is refused at once."""

import copy
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from cbpnet.backbone.presets import PRESETS
from cbpnet.backbone.vit import Backbone
from cbpnet.host.errors import InputError
from cbpnet.host.random_streams import RandomStream
from cbpnet.method.capacity import grow
from cbpnet.method.config import LearnerConfig
from cbpnet.method.initial import draw_state
from cbpnet.method.layout import methods_of
from mobile.cli import export_job as job, main
from mobile.cli.export_options import StateOptions
from mobile.device.runtime import OnDeviceLearner
from mobile.export import exporter
from mobile.export.exporter import export_stages
from mobile.targets import TARGETS, xnnpack


@pytest.fixture
def no_backbone(monkeypatch):
    """Loading a backbone, which takes its time, is a failure: bad input is refused before."""

    def load(*_):
        pytest.fail("the backbone was loaded before bad input was refused")

    monkeypatch.setattr(job, "load_backbone", load)


def test_the_outcome_as_json(fp32_run, fp32_export, small_backbone):
    result, _ = fp32_run
    outcome = json.loads(result.stdout)
    assert outcome["bundle"] == str(fp32_export.path)
    assert outcome["file_bytes"] == fp32_export.path.stat().st_size
    assert 0 < outcome["weight_bytes"] < outcome["file_bytes"]
    wanted = {"target": "xnnpack", "precision": "fp32", "backbone": small_backbone.name}
    wanted |= {"classes": 6, "tasks": 3, "known_classes": 3, "known_tasks": 1}
    assert {name: outcome[name] for name in wanted} == wanted
    assert outcome["methods"].keys() == set(methods_of(fp32_export.manifest.config))
    for method in outcome["methods"].values():
        assert sum(method["arithmetic"].values()) <= method["total"]
        assert method["arithmetic"].keys() == method["undelegated"].keys()
    assert outcome["agreement"]["features"] > 0.9999
    parameters = small_backbone.parameters_without_head
    assert outcome["trainable_fraction"] == outcome["trainable_parameters"] / parameters
    assert list(outcome["seconds"]) == _titles(fp32_export)
    assert all(seconds >= 0 for seconds in outcome["seconds"].values())


def _titles(export):
    return ["loading the backbone", *export_stages(export.manifest.config)]


def test_stages_are_numbered_and_nothing_else_is_said(fp32_run, fp32_export):
    lines = fp32_run[0].stderr.splitlines()
    titles = _titles(fp32_export)
    assert len(lines) == len(titles) == 12
    for number, (line, title) in enumerate(zip(lines, titles, strict=True), start=1):
        assert line.startswith(f"[{number}/12] {title}")
        assert line.endswith(" s")
    assert "to go" not in lines[1]
    assert "s to go) ... " in lines[9]


def test_the_bundle_predicts_what_the_server_predicts(fp32_export, server, small_backbone):
    images = RandomStream(5, 0).normal(8, 3, 16, 16)
    images += np.arange(8, dtype=np.float32).reshape(-1, 1, 1, 1) / 4
    query = server.learner.query(images)
    scores, _ = server.learner.predict(server.state, images, query)
    expected = torch.from_numpy(scores[:, :3]).softmax(dim=1)
    assert len(expected.argmax(dim=1).unique()) > 1
    device = OnDeviceLearner(fp32_export.path)
    assert device.class_names == ("ant", "bee", "cat")
    for row, found in zip(expected, device.predict(images), strict=True):
        assert found.task == 1
        assert dict(found.ranking) == pytest.approx(
            dict(zip(device.class_names, row.tolist(), strict=True)), abs=1e-4
        )


def test_the_outcome_in_words(calls, export, server, fp32_export):
    result = export("--state", server.path, "--budget", 1)
    assert result.exit_code == 0, result.output
    found = fp32_export.delegation["gradients"]
    table = result.stdout.split("gradients ")[1].split("update ")[0]
    outside = 100 * sum(found.arithmetic.values()) / found.total
    row = [str(found.delegate_calls), f"{found.total / 1e6:.2f}", f"{outside:.2f}"]
    assert table.split()[:3] == row
    listed = " ".join(table.splitlines()[1:])
    for operator, count in found.undelegated.items():
        share = 100 * found.arithmetic[operator] / found.total
        wanted = f"{count} {operator}" + (f" {share:.2f} %" if share >= 0.01 else "")
        assert wanted in " ".join(listed.split()), operator
    assert f"{fp32_export.bytes / 1e6:.2f} MB, of which weights" in result.stdout
    manifest = fp32_export.manifest
    assert f"learns {manifest.trainable_parameters:,} parameters" in result.stdout
    assert f"{100 * manifest.trainable_fraction:.3f} % of the backbone's" in result.stdout
    assert "; knows 3 classes in 1 tasks, with room for 3 more classes in 2 more" in result.stdout
    assert f"cbpnet-mobile learn {fp32_export.path}" in result.stdout


@pytest.mark.parametrize("adaptation", ["auto", "never", "cbpnet"])
def test_from_nothing_it_takes_a_preset_and_draws_a_state(
    calls, export, small_backbone, adaptation
):
    micro = ["--backbone", small_backbone.name, "--adaptation", adaptation]
    assert export(*micro, "--budget", 1, "--seed", 3).exit_code == 0
    ((path, backbone, config, state, settings, *_),) = calls
    assert path.name == "x.pte"
    assert config == PRESETS["micro"].config(adaptation)
    assert (settings.target.name, settings.target.precision) == ("xnnpack", "int8")
    assert (settings.classes, settings.tasks, settings.micro_batch) == (100, 20, 1)
    assert settings.class_names == ()
    drawn = draw_state(config, small_backbone.dim, 100, 20, RandomStream(3, 0))
    assert all(np.array_equal(value, drawn[name]) for name, value in state.items())
    assert backbone.preprocessing == small_backbone.preprocessing


def test_a_state_brings_its_settings_and_gets_room(calls, export, server, small_backbone):
    assert export("--state", server.path, "--budget", 1).exit_code == 0
    ((_, _, config, state, settings, *_),) = calls
    assert isinstance(config, LearnerConfig)
    assert config == server.info.config
    assert (settings.classes, settings.tasks) == (100, 20)
    assert settings.class_names == ("ant", "bee", "cat")
    grown = grow(server.state, config, small_backbone.dim, 100, 20)
    assert all(np.array_equal(value, grown[name]) for name, value in state.items())


def test_the_room_is_twice_what_a_state_knows_or_the_room_that_it_had(server):
    def room(known, classes, tasks, asked=(None, None)):
        info = replace(server.info, class_names=("x",) * known, classes=classes, tasks=tasks)
        options = StateOptions(None, None, *asked, seed=0)
        return job._capacity(options, job.Learnt(server.state, info))

    assert room(60, 60, 3) == (120, 20)
    assert room(60, 300, 30) == (300, 30)
    assert room(60, 60, 3, asked=(60, 7)) == (60, 7)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_labels_rename_the_classes(encoding, calls, export, server, tmp_path):
    labels = tmp_path / "labels.txt"
    labels.write_text("Ameise\nBiene\n\n  Kätzchen \n", encoding)
    assert export("--state", server.path, "--budget", 1, "--labels", labels).exit_code == 0
    assert calls[0][4].class_names == ("Ameise", "Biene", "Kätzchen")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a\nb\n", "has 2 labels; the state knows 3 classes"),
        (b"a\nb\nA\n", "has a label twice"),
        (b"a\nb\n\xff\xfe\n", "cannot be read as text"),
        (None, "cannot be read as text"),
    ],
)
@pytest.mark.usefixtures("no_backbone")
def test_labels_that_do_not_fit_are_refused(export, server, tmp_path, content, message):
    labels = tmp_path / "labels.txt"
    if content is not None:
        labels.write_bytes(content)
    result = export("--state", server.path, "--labels", labels)
    assert result.exit_code == 1
    assert message in result.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--target", "toaster"], "'toaster' is not one of 'xnnpack', "),
        (["--precision", "int4"], "'int4' is not one of 'int8', 'fp32'"),
        (["--precison", "int8"], "No such option '--precison'"),
        (["--classes", "0"], "0 is not in the range x>=1"),
        (["--crop-pct", "1.5"], "1.5 is not in the range"),
    ],
)
@pytest.mark.usefixtures("no_backbone")
def test_wrong_usage_exits_with_2_at_once(export, options, message):
    result = export(*options)
    assert result.exit_code == 2
    assert message in result.stderr


def test_the_libraries_are_quiet():
    """In a new process: torchao speaks when it is imported, the runtime when it starts."""
    code = (
        "from mobile.cli import main; from mobile.device.program import get_threads; get_threads();"
    )
    code += "main(['export', '--help'])"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert "--target [xnnpack|" in result.stdout
    assert result.stderr == ""


@pytest.mark.parametrize(
    ("options", "status"),
    [(["--help"], 0), (["--target", "qnn", "--option", "soc=SM1", "--out", "x.pte"], 1)],
)
def test_neither_help_nor_a_refused_option_waits_for_a_library(options, status):
    code = (
        "import sys; from click.testing import CliRunner; from mobile.cli import main;"
        f"result = CliRunner().invoke(main, ['export', *{options}]);"
        "print(result.exit_code, [n for n in ('executorch', 'timm', 'torch') if n in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout == f"{status} []\n"


@pytest.mark.usefixtures("no_backbone")
def test_target_and_out_must_be_named():
    for given, lacking in ((["--target", "xnnpack"], "--out"), (["--out", "x.pte"], "--target")):
        result = CliRunner().invoke(main, ["export", *given])
        assert result.exit_code == 2
        assert f"Missing option '{lacking}'" in result.stderr


@pytest.mark.usefixtures("no_backbone")
def test_a_state_of_another_backbone_or_with_more_room_is_refused(export, server, tmp_path):
    for options, message in (
        (["--backbone", "vit_tiny_patch16_224"], "with backbone vit_micro_patch8_32, and this is"),
        (["--classes", 3], "room for 4 classes, more than the 3 asked for"),
        (["--tasks", 1], "room for 2 tasks, more than the 1 asked for"),
    ):
        result = export("--state", server.path, *options)
        assert result.exit_code == 1
        assert message in result.stderr
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.usefixtures("no_backbone")
def test_what_cannot_be_read_or_written_is_refused(export, tmp_path):
    for options, message in (
        (["--state", tmp_path / "none"], "does not exist"),
        (["--out", __file__ + "/x.pte"], "cannot make the folder"),
        (["--classes", "1"], "classes of a bundle is 1; it must be at least 2"),
    ):
        result = export(*options)
        assert result.exit_code == 1
        assert message in result.stderr


def test_a_state_of_other_weights_or_another_preparation_is_refused(
    calls, export, server, small_backbone, monkeypatch
):
    result = export("--state", server.path, "--budget", 1, "--crop-pct", 0.5)
    assert result.exit_code == 1
    assert "learnt with preprocessing" in result.stderr
    assert "crop_pct=0.5" in result.stderr

    vit = copy.deepcopy(small_backbone.vit)
    with torch.no_grad():
        vit.norm.bias[0] += 1e-3
    other = Backbone(small_backbone.name, vit)
    monkeypatch.setattr(job, "load_backbone", lambda *_: other)
    result = export("--state", server.path, "--budget", 1)
    assert result.exit_code == 1
    mine, theirs = server.info.weights, other.weights_fingerprint
    assert f"learnt with weights {mine}, and this is {theirs}" in result.stderr
    assert calls == []


def test_more_than_the_budget_is_refused(calls, export, small_backbone):
    micro = ["--backbone", small_backbone.name, "--adaptation", "cbpnet"]
    result = export(*micro)
    assert result.exit_code == 1
    loading, error = result.stderr.splitlines()
    assert loading == "[1/12] loading the backbone ... "
    assert error.startswith("error: prompts and block have")
    assert "to stay under 2 %" in error
    assert calls == []
    assert export(*micro, "--budget", 1).exit_code == 0


@pytest.fixture
def photos(pictures, tmp_path):
    """A folder of class folders, two pictures each."""
    for colour in ("blue", "red"):
        folder = tmp_path / "photos" / colour
        folder.mkdir(parents=True)
        for number, pixels in enumerate(pictures(colour, 2)):
            Image.fromarray(pixels).save(folder / f"{number}.png")
    return tmp_path / "photos"


@pytest.fixture
def static_target(monkeypatch):
    """XNNPACK under the name of a target of static int8, which needs images to calibrate on."""
    row = replace(TARGETS["xnnpack"], learns=False)
    monkeypatch.setitem(TARGETS, "openvino", row)


@pytest.fixture
def constructed(monkeypatch):
    """The constructions of XNNPACK's backend."""
    found, construct = [], xnnpack.Backend

    def count(**options):
        found.append(construct(**options))
        return found[-1]

    monkeypatch.setattr(xnnpack, "Backend", count)
    return found


@pytest.mark.usefixtures("static_target")
@pytest.mark.parametrize(("target", "backends"), [("xnnpack", 1), ("openvino", 2)])
def test_a_backend_is_constructed_once(
    export, constructed, photos, server, small_backbone, target, backends, monkeypatch
):
    """And XNNPACK's once more beside a target that does not learn; up to the lowering."""
    monkeypatch.setattr(job, "load_backbone", lambda *_: copy.deepcopy(small_backbone))

    def lower(programs, learning, *_):
        assert learning == constructed[-1].partitioner
        raise InputError("far enough")

    monkeypatch.setattr(exporter, "lower", lower)
    calibration = ["--calibration", photos] if target == "openvino" else []
    known = ["--state", server.path, "--budget", 1]
    result = export("--target", target, *calibration, *known)
    assert result.stderr.endswith("error: far enough\n")
    assert len(constructed) == backends


@pytest.mark.usefixtures("no_backbone", "static_target")
def test_static_int8_without_images_is_refused(export):
    result = export("--target", "openvino")
    assert result.exit_code == 1
    assert "rounds to int8 by ranges that it takes from images; name a folder" in result.stderr


@pytest.mark.usefixtures("no_backbone")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--calibration", "."], "xnnpack in int8 needs no calibration; leave --calibration out"),
        (["--option", "device"], "--option device is no NAME=VALUE, such as device=NPU"),
        (["--option", "device=NPU"], "target xnnpack has no option 'device'; it has none"),
    ],
)
def test_what_the_target_has_no_use_for_is_refused(export, options, message):
    result = export(*options)
    assert result.exit_code == 1
    assert message in result.stderr


@pytest.mark.usefixtures("static_target")
def test_images_to_calibrate_on_are_handed_on(export, calls, photos):
    expected = [photos / name / f"{n}.png" for n in (0, 1) for name in ("blue", "red")]
    result = export("--target", "openvino", "--calibration", photos, "--budget", "1")
    assert result.exit_code == 0, result.output
    *_, calibration, _ = calls[0]
    assert calibration == expected
