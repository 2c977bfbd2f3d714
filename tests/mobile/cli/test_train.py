"""``cbpnet-mobile train``: a run that lives in its state file."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

import cbpnet.run.one_pass_contender
from cbpnet.run.state_file import load_state
from mobile.cli import main

Command = Callable[..., Result]


def test_a_killed_run_resumes_to_the_same_bits(
    digits: Command, run_killed: Callable[..., None], micro_weights: Path, tmp_path: Path
) -> None:
    whole, killed = tmp_path / "whole.safetensors", tmp_path / "killed.safetensors"
    cbpnet = ["--adaptation", "cbpnet"]
    result = digits("train", "--epochs", "2", "--threads", "1", *cbpnet, "--out", str(whole))
    assert result.exit_code == 0, result.output
    assert "task 5 of 5 (8, 9)" in result.output

    options = ["--dataset", "digits", "--preset", "micro", "--weights", str(micro_weights)]
    options += ["--train-per-class", "6", "--test-per-class", "4", "--epochs", "2"]
    run_killed(2, "train", *options, *cbpnet, "--threads", "1", "--out", killed)
    assert load_state(killed)[1].progress["finished"] == 2

    again = ["--epochs", "2", "--threads", "1", *cbpnet, "--out", str(killed), "--json"]
    resumed = digits("train", *again)
    assert resumed.exit_code == 0, resumed.output
    assert json.loads(resumed.stdout)["resumed_after"] == 2
    (ended, info), (uninterrupted, other) = load_state(killed), load_state(whole)
    assert info == other
    for name, value in uninterrupted.items():
        assert np.array_equal(ended[name], value), name


def test_an_interruption_is_one_sentence(
    digits: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cbpnet.run.one_pass_contender, "learn_lesson", interrupt)
    result = digits("train", "--out", str(tmp_path / "state.safetensors"))
    assert result.exit_code == 130
    assert result.stderr.splitlines()[-1].startswith("stopped; a state is that of the last")
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("adaptation", "trained", "head"), [("auto", 3200, 0), ("cbpnet", 3408, 640), ("never", 0, 0)]
)
def test_the_outcome_as_json(
    digits: Command, tmp_path: Path, adaptation: str, trained: int, head: int
) -> None:
    out = tmp_path / "new" / "folder" / "state.safetensors"
    options = ["--adaptation", adaptation, "--seed", "4", "--out", str(out), "--json"]
    result = digits("train", *options)
    outcome = json.loads(result.stdout)
    assert outcome["state"] == str(out)
    assert outcome["bytes"] == out.stat().st_size
    assert (outcome["seed"], outcome["tasks"], outcome["resumed_after"]) == (4, 5, 0)
    assert [row["classes"] for row in outcome["learnt"]] == [
        ["0", "1"], ["2", "3"], ["4", "5"], ["6", "7"], ["8", "9"]
    ]  # fmt: skip
    assert outcome["learnt"][0]["accuracy"] == outcome["learnt"][0]["average_accuracy"]
    assert all(row["accuracy"] in {n / 8 for n in range(9)} for row in outcome["learnt"])
    assert outcome["share"] == trained / 214_464
    assert outcome["head_parameters"] == head
    decisions = [row["decision"] for row in outcome["learnt"]]
    if adaptation == "cbpnet":
        assert decisions == [None] * 5
        assert {row["forwards"] for row in outcome["learnt"]} == {12 * (1 + 3)}
    else:
        reason = {"auto": "few classes", "never": "never"}[adaptation]
        assert [(one["adapts"], one["reason"]) for one in decisions] == [(False, reason)] * 5


def test_what_each_lesson_decided_is_said(digits: Command, tmp_path: Path) -> None:
    options = ["--adaptation", "first", "--out", str(tmp_path / "state")]
    lines = digits("train", *options).output.splitlines()
    said = [line for line in lines if line.startswith("task ")]
    assert said[0].endswith("the features were adapted (first lesson of enough classes)")
    assert all(line.endswith("the features stay (adapted before)") for line in said[1:])
    assert any(line.endswith("of the backbone's 214,464; seed 0") for line in lines)


def test_settings_of_the_learner_are_those_asked_for(digits: Command, tmp_path: Path) -> None:
    out = tmp_path / "state.safetensors"
    options = ["--adaptation", "always", "--readout", "rls", "--features", "pooled, patches"]
    assert digits("train", *options, "--out", str(out)).exit_code == 0
    state, info = load_state(out)
    assert info.config.adaptation.kind == "always"
    assert info.config.readout.kind == "rls"
    assert info.config.features == ("pooled", "patches")
    assert state["classes.mean"].shape == (10, 128)
    assert info.tasks == 1


@pytest.mark.parametrize(
    ("options", "status", "reason"),
    [
        (["--out", "FOLDER"], 2, "is a directory"),
        (["--out", "FILE/state.safetensors"], 1, "cannot make the folder"),
        (["--out", "FILE"], 1, "cannot be read as safetensors"),
        (["--seed", "-1"], 2, "not in the range"),
        (["--class-order", "sorted"], 2, "'sorted' is not one of"),
        (["--method", "ncm"], 2, "No such option"),
        (["--budget", "0.01"], 1, "shorten the prompts or the block"),
        (["--adaptation", "often"], 2, "'often' is not one of"),
        (["--features", "patches"], 1, "the first must be pooled"),
        (["--features", "pooled,colour"], 1, "feature 'colour' does not exist"),
        (["--adaptation", "cbpnet", "--features", "pooled,patches"], 1, "features is"),
        (["--adaptation", "cbpnet", "--readout", "whitened"], 1, "readout.kind is 'whitened'"),
        (["--tasks", "5"], 2, "a one-pass learner knows no tasks"),
    ],
)
def test_bad_input_is_one_sentence_before_any_work(
    digits: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    status: int,
    reason: str,
) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("work has begun")

    monkeypatch.setattr(cbpnet.run.one_pass_contender, "learn_lesson", fail)
    (tmp_path / "FOLDER").mkdir()
    (tmp_path / "FILE").write_text("a letter")
    monkeypatch.chdir(tmp_path)
    result = digits("train", "--out", "state.safetensors", *options)
    assert result.exit_code == status
    assert reason in result.stderr
    assert "Traceback" not in result.output
    assert not Path("state.safetensors").exists()
    assert Path("FILE").read_text() == "a letter"


def test_a_finished_run_says_so_and_another_run_is_refused(digits: Command, tmp_path: Path) -> None:
    out = tmp_path / "state.safetensors"
    assert digits("train", "--out", str(out)).exit_code == 0
    before = out.read_bytes()
    again = digits("train", "--out", str(out))
    assert again.exit_code == 0
    assert "this run had finished" in again.output
    other = digits("train", "--out", str(out), "--seed", "1")
    assert other.exit_code == 1
    assert "is of another run: seed was 0 and is 1 now" in other.stderr
    assert out.read_bytes() == before


def test_capacity_beyond_what_is_learnt(digits: Command, tmp_path: Path) -> None:
    out = tmp_path / "state.safetensors"
    capacity = ["--adaptation", "cbpnet", "--classes", "14", "--tasks", "8"]
    assert digits("train", "--out", str(out), *capacity).exit_code == 0
    state, info = load_state(out)
    assert state["head.weight"].shape == (14, 64)
    assert state["tasks.known"].tolist() == [1.0] * 5 + [0.0] * 3
    assert info.class_names == tuple("0123456789")
    small = digits("train", "--out", str(tmp_path / "small.safetensors"), "--classes", "9")
    assert small.exit_code == 1
    assert "the capacity is 9 classes" in small.stderr


def test_a_folder_of_pictures(micro_weights: Path, tmp_path: Path) -> None:
    for number, name in enumerate(("cat", "dog")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for image in range(5):
            shade = 40 * image + 20 * number
            picture = Image.new("RGB", (40, 30), (shade, 255 - shade, 100 * number))
            picture.save(tmp_path / "photos" / name / f"{image}.png")
    (tmp_path / "photos" / "cat" / "broken.jpg").write_bytes(b"no picture")
    options = ["--dataset", "folder", "--data", str(tmp_path / "photos"), "--preset", "micro"]
    options += ["--weights", str(micro_weights), "--epochs", "1"]
    out = tmp_path / "state.safetensors"
    result = CliRunner().invoke(main, ["train", *options, "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert "broken.jpg" in result.stderr
    assert load_state(out)[1].class_names == ("cat", "dog")
    strict = CliRunner().invoke(main, ["train", *options, "--strict", "--out", str(out)])
    assert strict.exit_code == 1
    assert "broken.jpg" in strict.stderr


def test_classes_without_test_images_are_learnt_all_the_same(
    micro_weights: Path, tmp_path: Path
) -> None:
    for name in ("cat", "dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        Image.new("RGB", (32, 32), "red" if name == "cat" else "blue").save(
            tmp_path / "photos" / name / "only.png"
        )
    options = ["--dataset", "folder", "--data", str(tmp_path / "photos"), "--preset", "micro"]
    options += ["--weights", str(micro_weights), "--classes-per-task", "1", "--epochs", "1"]
    result = CliRunner().invoke(main, ["train", *options, "--out", str(tmp_path / "state")])
    assert result.exit_code == 0, result.output
    assert "task 2 of 2 (dog): no test images" in result.output
    refused = CliRunner().invoke(main, ["benchmark", *options, "--out", str(tmp_path / "out")])
    assert refused.exit_code == 1
    assert "task 1 of 2 has no test image" in refused.stderr


@pytest.mark.parametrize("name", ["missing", "empty"])
def test_a_folder_without_classes_is_one_sentence(
    micro_weights: Path, tmp_path: Path, name: str
) -> None:
    (tmp_path / "empty").mkdir()
    options = ["--dataset", "folder", "--data", str(tmp_path / name), "--preset", "micro"]
    options += ["--weights", str(micro_weights), "--out", str(tmp_path / "state.safetensors")]
    result = CliRunner().invoke(main, ["train", *options])
    assert result.exit_code == 1
    assert result.stderr.strip().splitlines()[-1].startswith(f"error: {tmp_path / name}")
    assert not (tmp_path / "state.safetensors").exists()
