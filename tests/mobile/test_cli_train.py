"""``cbpnet-mobile train``: a run that lives in its state file."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

from cbpnet.state_file import load_state
from mobile.cli import main

Command = Callable[..., Result]


def test_a_killed_run_resumes_to_the_same_bits(
    digits: Command, micro_weights: Path, tmp_path: Path
) -> None:
    whole, killed = tmp_path / "whole.safetensors", tmp_path / "killed.safetensors"
    result = digits("train", "--threads", "1", "--out", str(whole))
    assert result.exit_code == 0, result.output
    assert "task 5 of 5 (8, 9)" in result.output

    command = [sys.executable, "-c", "from mobile.cli import main; main()", "train"]
    command += ["--dataset", "digits", "--preset", "micro", "--weights", str(micro_weights)]
    command += ["--train-per-class", "6", "--test-per-class", "4", "--epochs", "1"]
    command += ["--threads", "1", "--out", str(killed)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not killed.exists() and process.poll() is None:
        time.sleep(0.001)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    finished = load_state(killed)[1].progress["finished"]
    assert finished >= 1

    resumed = digits("train", "--threads", "1", "--out", str(killed), "--json")
    assert resumed.exit_code == 0, resumed.output
    assert json.loads(resumed.stdout)["resumed_after"] == finished
    (ended, info), (uninterrupted, other) = load_state(killed), load_state(whole)
    assert info == other
    for name, value in uninterrupted.items():
        assert torch.equal(ended[name], value), name


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
    assert digits("train", "--out", str(out), "--classes", "14", "--tasks", "8").exit_code == 0
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
