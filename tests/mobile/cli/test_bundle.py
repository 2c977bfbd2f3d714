"""learn, predict, inspect and evaluate on a bundle, from the command line."""

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from cbpnet.data.folder import load_folder
from cbpnet.data.stream import make_stream
from cbpnet.method.eager import EagerLearner
from cbpnet.run.contender import LearnerContender
from cbpnet.run.protocol import ProtocolRecord, run_protocol
from cbpnet.run.state_file import load_state
from cbpnet.run.training import TrainingConfig
from mobile.cli import COMMANDS, main
from mobile.device.bundle import read_manifest
from mobile.device.runtime import OnDeviceLearner

Pictures = Callable[..., list[np.ndarray]]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def photos(pictures: Pictures, tmp_path: Path) -> Callable[..., Path]:
    """Write class folders of a few pictures each."""

    def write(*labels: str, count: int = 5, folder: str = "photos") -> Path:
        for label in labels:
            (tmp_path / folder / label).mkdir(parents=True)
            for number, picture in enumerate(pictures(label, count)):
                Image.fromarray(picture).save(tmp_path / folder / label / f"{number}.png")
        return tmp_path / folder

    return write


def test_learning_and_predicting(
    bundle: Path, photos: Callable[..., Path], pictures: Pictures, tmp_path: Path
) -> None:
    first, second = photos("red", "green"), photos("blue", "red", folder="more")
    state = tmp_path / "state.safetensors"
    result = run("learn", bundle, "--images", first, "--out", state)
    assert result.exit_code == 0, result.output
    assert "task 1 (new: green, red): 10 images" in result.output
    assert f"wrote {state}: 2 of 6 classes, 1 of 3 tasks" in result.output
    assert f"cbpnet-mobile predict {bundle} --state {state}" in result.output

    result = run("learn", bundle, "--images", second, "--state", state, "--epochs", "2", "--json")
    outcome = json.loads(result.stdout)
    assert outcome["state"] == str(state)
    assert outcome["bytes"] == state.stat().st_size
    assert outcome["classes"] == ["green", "red", "blue"]
    assert outcome["lessons"] == [
        {"task": 1, "new": [], "known": ["red"], "images": 5, "decision": None, "recall": []},
        {"task": 2, "new": ["blue"], "known": [], "images": 5, "decision": None, "recall": []},
    ]
    expected = OnDeviceLearner(bundle)
    expected.learn({label: pictures(label, 5) for label in ("green", "red")})
    expected.learn({label: pictures(label, 5) for label in ("blue", "red")}, epochs=2)
    expected.save(tmp_path / "expected")
    found, wanted = load_state(state)[0], load_state(tmp_path / "expected")[0]
    assert all(np.array_equal(value, wanted[name]) for name, value in found.items())

    images = [first / "green" / "0.png", second / "blue" / "1.png"]
    printed = run("predict", bundle, *images, "--state", state, "--json").stdout
    rows = [json.loads(line) for line in printed.splitlines()]
    for row, image, answer in zip(rows, images, expected.predict(images), strict=True):
        assert (row["image"], row["task"]) == (str(image), answer.task)
        assert [(c["label"], c["probability"]) for c in row["classes"]] == list(answer.ranking)
    result = run("predict", bundle, images[0], "--state", state, "--top", "1", "--threads", "1")
    best = expected.predict(images)[0]
    line = f"{images[0]}: {best.label} {100 * best.probability:.1f} % (prompt of task {best.task})"
    assert line in result.output.splitlines()
    assert f"cbpnet-mobile learn {bundle} --images FOLDER --state {state}" in result.stderr


def test_what_was_learnt_lies_beside_the_bundle_and_is_gone_on_from(
    bundle: Path, photos: Callable[..., Path], tmp_path: Path
) -> None:
    own, more = tmp_path / "pets.pte", photos("blue", folder="more")
    shutil.copy(bundle, own)
    state = own.with_suffix(".safetensors")
    first = run("learn", own, "--images", photos("red"), "--epochs", "1")
    assert first.exit_code == 0, first.output
    assert "--no-state" not in first.stderr
    for options in (["--no-state"], ["--out", state, "--no-state"]):
        refused = run("learn", own, "--images", more, *options)
        assert refused.exit_code == 1
        assert f"pass --state {state} to go on from it" in refused.stderr
    contrary = run("learn", own, "--images", more, "--state", state, "--no-state")
    assert contrary.exit_code == 2
    result = run("learn", own, "--images", more, "--task", "1")
    assert f"note: goes on from {state}, which lies beside the bundle; --no-state" in result.stderr
    assert "task 1 (new: blue): 5 images" in result.output
    assert load_state(state)[0]["tasks.known"].tolist() == [1, 0, 0]
    assert not list(tmp_path.glob("*.lock"))


def without_trailer(bundle: Path, path: Path) -> None:
    path.write_bytes(bundle.read_bytes()[:-48])


def truncated(bundle: Path, path: Path) -> None:
    path.write_bytes(bundle.read_bytes()[:-1000])


def flipped(bundle: Path, path: Path) -> None:
    content = bytearray(bundle.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def newer(bundle: Path, path: Path) -> None:
    content = bytearray(bundle.read_bytes())
    content[-40] = 5
    path.write_bytes(content[:-32] + hashlib.sha256(content[:-32]).digest())


def letter(bundle: Path, path: Path) -> None:
    path.write_text("a letter to grandmother")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (letter, "is not a bundle"),
        (without_trailer, "is a plain ExecuTorch program"),
        (truncated, "a bundle cut short"),
        (flipped, "is damaged: its checksum does not match"),
        (newer, "has format version 5; this version of cbpnet-mobile reads version 4"),
        (lambda bundle, path: None, "cannot be read: No such file"),
    ],
)
@pytest.mark.parametrize("command", ["learn", "predict", "inspect", "evaluate"])
def test_a_bad_bundle_is_one_sentence(
    bundle: Path, photos: Callable[..., Path], tmp_path: Path, command, damage, reason
) -> None:
    path, images = tmp_path / "x.pte", photos("red")
    damage(bundle, path)
    more = {
        "learn": ["--images", images, "--out", tmp_path / "state"],
        "predict": [images / "red" / "0.png"],
        "inspect": [],
        "evaluate": ["--dataset", "digits", "--out", tmp_path / "out"],
    }
    result = run(command, path, *more[command])
    assert result.exit_code == 1
    assert reason in result.stderr
    assert result.stderr.splitlines()[-1].startswith("error: ")
    assert "Traceback" not in result.output
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(
    ("options", "status", "reason"),
    [
        (["--images", "nowhere"], 1, "nowhere: cannot be listed"),
        (["--images", "empty"], 1, "empty: holds no class folder with a readable image; right wo"),
        (["--images", "flat"], 1, "flat: holds no class folder"),
        (["--images", "hollow"], 1, "hollow: holds no class folder with a readable image"),
        (["--images", "many"], 1, "7 new classes do not fit, 6 of the bundle's 6 are free"),
        (["--images", "photos", "--state", "flat/x.png"], 1, "cannot be read as safetensors"),
        (["--images", "photos", "--state", "missing"], 1, "missing does not exist"),
        (["--images", "photos", "--task", "1"], 1, "task 1 is not one of the 0 known tasks"),
        (["--images", "photos", "--out", "flat"], 2, "is a directory"),
        (["--images", "photos", "--out", "flat/x.png/state"], 1, "cannot make the folder"),
        (["--images", "photos", "--threads", "0"], 2, "not in the range"),
        (["--images", "photos", "--epoch", "3"], 2, "No such option"),
    ],
)
def test_bad_input_to_learn_is_one_sentence(
    bundle: Path, photos: Callable[..., Path], tmp_path, monkeypatch, options, status, reason
) -> None:
    photos("red", "green")
    photos("red", "green", "blue", "grey", "white", "black", "pink", folder="many", count=1)
    (tmp_path / "empty").mkdir()
    (tmp_path / "flat").mkdir()
    Image.new("RGB", (9, 9)).save(tmp_path / "flat" / "x.png")
    (tmp_path / "hollow" / "cat").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    result = run("learn", bundle, "--out", "state", *options)
    assert result.exit_code == status
    assert reason in result.stderr
    assert "Traceback" not in result.output
    assert not Path("state").exists()


def test_unreadable_images_are_skipped_or_refused(
    bundle: Path, photos: Callable[..., Path], tmp_path: Path
) -> None:
    folder = photos("red", "green")
    (folder / "red" / "broken.jpg").write_text("a letter")
    result = run("learn", bundle, "--images", folder, "--out", tmp_path / "state", "--json")
    assert "broken.jpg: cannot be read" in result.stderr
    assert json.loads(result.stdout)["lessons"][0]["images"] == 10
    strict = run("learn", bundle, "--images", folder, "--out", tmp_path / "other", "--strict")
    assert strict.exit_code == 1
    assert "broken.jpg: cannot be read" in strict.stderr
    refused = run("predict", bundle, folder / "red" / "broken.jpg", "--state", tmp_path / "state")
    assert refused.exit_code == 1
    assert "broken.jpg: cannot be read" in refused.stderr


def test_an_interrupted_lesson_leaves_the_state(
    bundle: Path, photos: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = tmp_path / "state"
    assert run("learn", bundle, "--images", photos("red"), "--out", state).exit_code == 0
    before = state.read_bytes()

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("mobile.device.task_teacher.learn_task", interrupt)
    more = photos("blue", folder="more")
    result = run("learn", bundle, "--images", more, "--state", state)
    assert result.exit_code == 130
    assert "Traceback" not in result.output
    assert state.read_bytes() == before


def test_inspect(bundle: Path) -> None:
    found = json.loads(run("inspect", bundle, "--json").stdout)
    expected = {
        "target": "portable",
        "backbone": "toy",
        "precision": "fp32",
        "file_bytes": bundle.stat().st_size,
        "trainable_parameters": 48 + 96 + 12 + 125,  # G and E prompts, key, block
        "backbone_parameters": 1_000_000,
        "trainable_fraction": 281 / 1_000_000,
        "classes": 6,
        "tasks": 3,
        "image_size": 8,
    }
    assert {name: found[name] for name in expected} == expected
    layout = read_manifest(bundle).layout
    assert found["state_bytes"] == 4 * sum(int(np.prod(shape)) for shape in layout.values())
    for name in ("query", "predict", "gradients", "update", "observe", "initial_state"):
        assert found["methods"][name]["delegate_calls"] == 0
    assert found["methods"]["update"]["undelegated"]["where"] > 0
    text = run("inspect", bundle).output
    assert "room for 6 classes in 3 tasks; 0 classes are known" in text
    assert "trains 281 parameters, 0.028 % of the backbone's 1,000,000" in text


def test_inspect_names_no_tasks_where_there_are_none(one_pass_bundle: Path) -> None:
    assert "room for 6 classes; 0 classes are known" in run("inspect", one_pass_bundle).output


EVALUATE = ["--dataset", "folder", "--classes-per-task", "2", "--epochs", "2", "--batch-size", "3"]


def test_evaluate_is_the_protocol_of_the_learner_in_pytorch(
    bundle: Path, eager: EagerLearner, photos: Callable[..., Path], tmp_path: Path
) -> None:
    folder, out = photos("red", "green", "blue", "grey", "white", count=9), tmp_path / "out"
    result = run("evaluate", bundle, *EVALUATE, "--data", folder, "--seed", "4", "--out", out)
    assert result.exit_code == 0, result.output
    names = {path.name for path in out.iterdir()}
    assert {"results.json", "results.csv", "table.md", "accuracy_over_tasks.png"} <= names
    report = json.loads((out / "results.json").read_text())
    stream = make_stream(load_folder(folder), 2, seed=4)
    preprocessing = read_manifest(bundle).preprocessing
    training, readouts = TrainingConfig(2, 3, 3), {"cbpnet": "none", "cbpnet+rls": "rls"}
    contender = LearnerContender(eager, stream, preprocessing, training, 4, readouts)
    record = ProtocolRecord(tuple(run_protocol(contender, stream)))
    runs = {row["method"]: row for row in report["runs"]}
    assert list(runs) == [f"{name}, portable fp32" for name in readouts]
    for name in readouts:
        row, expected = runs[f"{name}, portable fp32"], record.result(name, stream, 4)
        matrix = np.array(row["matrix"], dtype=float)
        np.testing.assert_allclose(matrix, expected.matrix)
        assert row["prompt_selection"] == pytest.approx(expected.prompt_selection)
        assert row["trainable_share"] == pytest.approx(281e-6)


def test_a_killed_evaluation_goes_on_and_another_one_is_refused(
    bundle: Path, photos: Callable[..., Path], run_killed: Callable[..., None], tmp_path: Path
) -> None:
    folder = photos("red", "green", "blue", "grey", "white", count=9)
    options = [*EVALUATE, "--data", str(folder), "--epochs", "2"]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert run("evaluate", bundle, *options, "--out", whole).exit_code == 0

    run_killed(1, "evaluate", bundle, *options, "--out", killed)
    state, kept = killed / "state-seed0.safetensors", killed / "outcomes-seed0.json"
    assert load_state(state)[1].progress["finished"] == 1
    result = run("evaluate", bundle, *options, "--out", killed, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)[0]["method"] == "cbpnet, portable fp32"
    matrices = [
        [row["matrix"] for row in json.loads((out / "results.json").read_text())["runs"]]
        for out in (whole, killed)
    ]
    assert matrices[0] == matrices[1]

    other = run("evaluate", bundle, *options, "--out", killed, "--batch-size", "4")
    assert other.exit_code == 1
    assert "is of another run: batch_size was 3 and is 4 now" in other.stderr
    content = json.loads(kept.read_text())
    content["record"]["outcomes"] = content["record"]["outcomes"][:1]
    kept.write_text(json.dumps(content))
    torn = run("evaluate", bundle, *options, "--out", killed)
    assert torn.exit_code == 1
    assert "has the outcomes of 1 tasks" in torn.stderr
    kept.write_text("{")
    broken = run("evaluate", bundle, *options, "--out", killed)
    assert "is not a kept run" in broken.stderr


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--dataset", "digits"], "the capacity is 6 classes; the tasks to learn need 10"),
        (
            ["--dataset", "folder", "--data", "photos", "--classes-per-task", "1"],
            "the capacity is 3 tasks; the tasks to learn need 4",
        ),
        (["--dataset", "folder", "--data", "single"], "has no test image; an evaluation needs one"),
    ],
)
def test_a_stream_that_does_not_fit_is_refused_before_any_work(
    bundle: Path, photos: Callable[..., Path], tmp_path, monkeypatch, options, reason
) -> None:
    photos("red", "green", "blue", "grey")
    photos("red", "green", folder="single", count=1)
    monkeypatch.chdir(tmp_path)
    result = run("evaluate", bundle, *options, "--out", "out")
    assert result.exit_code == 1
    assert reason in result.stderr


WITHOUT = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {missing} or name == "executorch.exir":
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Missing())
from mobile.cli import main
main()
"""


def on_device(*arguments: object, missing: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    code = WITHOUT.format(missing=missing)
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def test_a_device_without_timm_learns_predicts_inspects_and_evaluates(
    bundle: Path, photos: Callable[..., Path], tmp_path: Path
) -> None:
    folder, state = photos("red", "green"), tmp_path / "state"
    lacks = ("timm", "torchao", "torchvision", "sklearn", "matplotlib")
    for arguments in (
        ["--help"],
        ["learn", bundle, "--images", folder, "--out", state],
        ["predict", bundle, folder / "red" / "0.png", "--state", state],
        ["inspect", bundle],
    ):
        result = on_device(*arguments, missing=lacks)
        assert result.returncode == 0, result.stderr
    out = tmp_path / "out"
    evaluate = ["evaluate", bundle, *EVALUATE, "--data", folder, "--out", out]
    assert on_device(*evaluate, missing=lacks).returncode == 0
    assert (out / "table.md").exists()
    assert not list(out.glob("*.png"))
    train = ["train", "--dataset", "folder", "--data", folder, "--out", tmp_path / "other"]
    result = on_device(*train, missing=lacks)
    assert result.returncode == 1
    assert "error: this command needs the package torchvision, which is" in result.stderr
    assert "Traceback" not in result.stderr


def test_the_list_of_commands_says_what_each_says_of_itself() -> None:
    for name, summary in COMMANDS.items():
        command = main.get_command(click.Context(main), name)
        assert command is not None
        assert " ".join((command.help or "").split("\n\n")[0].split()) == summary
    assert main.get_command(click.Context(main), "teach") is None
    unknown = run("teach")
    assert unknown.exit_code == 2
    assert "No such command 'teach'" in unknown.stderr
