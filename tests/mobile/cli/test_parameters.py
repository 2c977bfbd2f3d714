"""Paths, words and names on the command line and in what it prints."""

import io
import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from cbpnet.run.state_file import load_state, save_state
from mobile.cli import COMMANDS, main
from mobile.cli.parameters import Choice, FilePath
from mobile.device.runtime import OnDeviceLearner


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_a_tilde_is_the_home_folder(
    bundle: Path, write_classes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir("/")
    write_classes(tmp_path / "photos", "red")
    (tmp_path / "pets.pte").symlink_to(bundle)
    learn = ["--images=~/photos", "--out=~/new/state", "--epochs", "1"]
    assert run("learn", "~/pets.pte", *learn).exit_code == 0
    result = run("predict", "~/pets.pte", "--state=~/new/state", "~/photos/red/0.png")
    assert result.stdout.startswith(f"{tmp_path}/photos/red/0.png: red 100.0 %")
    camera = run("predict", "~/pets.pte", "--state=~/new/state", "--camera", "~/photos/red")
    assert camera.exit_code == 0
    assert "red 100.0 %" in camera.stdout
    unknown = run("inspect", "~nobody-of-this-name/x.pte")
    assert "~nobody-of-this-name/x.pte cannot be read" in unknown.stderr


def test_every_path_and_choice_of_a_command_is_of_the_common_kind() -> None:
    for name in COMMANDS:
        command = main.get_command(click.Context(main), name)
        assert command is not None
        for parameter in command.params:
            if isinstance(parameter.type, click.Path):
                assert isinstance(parameter.type, FilePath), (name, parameter.name)
            if isinstance(parameter.type, click.Choice):
                assert isinstance(parameter.type, Choice), (name, parameter.name)


@pytest.mark.parametrize(
    ("arguments", "question"),
    [
        (["pedict"], "No such command 'pedict'. Did you mean predict?"),
        (["export", "--target", "xnpack", "--out", "x"], "Did you mean xnnpack?"),
        (["learn", "x.pte", "--stat", "x"], "--state"),
    ],
)
def test_what_is_misspelt_is_answered_with_the_closest(arguments: list[str], question: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert question in result.stderr.splitlines()[-1]


def test_what_resembles_nothing_is_not_guessed() -> None:
    assert run("fly").stderr.splitlines()[-1] == "Error: No such command 'fly'."


def test_a_label_is_the_same_from_a_folder_and_from_the_keyboard(
    bundle: Path, write_classes, pictures, tmp_path: Path
) -> None:
    photos, state = write_classes(tmp_path / "photos", "red"), tmp_path / "state"
    (photos / "red").rename(photos / " cafe\u0301 ")
    assert run("learn", bundle, "--images", photos, "--out", state, "--epochs", "1").exit_code == 0
    camera = ["--camera", photos / " cafe\u0301 ", "--shots", "2", "--every", "0", "--epochs", "1"]
    result = run("learn", bundle, *camera, "--label", "caf\u00e9 ", "--state", state)
    assert result.exit_code == 0, result.output
    assert load_state(state)[1].class_names == ("caf\u00e9",)
    for label, reason in ((" ", "label ' ' is empty"), ("a\x1b", r"has the character '\x1b'")):
        refused = run("learn", bundle, *camera, "--label", label, "--state", state)
        assert refused.exit_code == 1
        assert reason in refused.stderr
    with pytest.raises(ValueError, match="'red ' stands there twice"):
        OnDeviceLearner(bundle).learn({"red": pictures("red", 1), "red ": pictures("red", 1)})


@pytest.fixture
def odd_state(bundle: Path, pictures, tmp_path: Path) -> Path:
    """A state with a class whose name not every terminal can show."""
    learner, path = OnDeviceLearner(bundle), tmp_path / "state"
    learner.learn({"red": pictures("red", 2)}, epochs=1)
    learner.save(path)
    state, info = load_state(path)
    save_state(path, state, replace(info, class_names=("\u4e2drex",)))
    return path


def test_a_name_cannot_move_the_cursor(bundle: Path, odd_state: Path, write_classes, forge) -> None:
    photos = write_classes(odd_state.parent / "photos", "red", count=1)
    (photos / "red" / "0.png").rename(photos / "red" / "a\x1b.png")
    result = run("predict", bundle, photos, "--state", odd_state)
    assert r"a\x1b.png: 中rex 100.0 %" in result.stdout
    (photos / "red" / "b\x1b.png").write_bytes(b"")
    result = run("predict", bundle, photos, "--state", odd_state)
    assert "\x1b" not in result.output
    info = replace(load_state(odd_state)[1], class_names=("\x1b[31mrex",))
    forge(odd_state, info=json.dumps(asdict(info)))
    result = run("predict", bundle, photos, "--state", odd_state)
    assert result.exit_code == 1
    assert r"label '\x1b[31mrex' has the character '\x1b', which cannot be shown" in result.output


def test_what_the_terminal_lacks_is_an_escape(bundle: Path, odd_state: Path, write_classes) -> None:
    photos = write_classes(odd_state.parent / "photos", "red", count=1)
    command = [sys.executable, "-m", "mobile", "predict", str(bundle), str(photos)]
    result = subprocess.run(
        [*command, "--state", str(odd_state)],
        env={**os.environ, "PYTHONIOENCODING": "latin-1"},
        capture_output=True,
    )
    assert result.returncode == 0, result.stderr
    assert rb"\u4e2drex 100.0 %" in result.stdout


def test_a_stream_of_another_kind_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    main(["targets"], standalone_mode=False)
    assert "xnnpack" in stream.getvalue()
