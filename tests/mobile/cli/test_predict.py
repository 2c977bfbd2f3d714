"""predict: files and folders, good and bad, with what was learnt, from the command line."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mobile.cli import main
from mobile.device.runtime import OnDeviceLearner


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def taught(one_pass_bundle: Path, pictures, tmp_path: Path) -> Path:
    """A bundle of one's own, which has learnt two colours beside it."""
    own = tmp_path / "pets.pte"
    shutil.copy(one_pass_bundle, own)
    learner = OnDeviceLearner(own)
    learner.learn({label: pictures(label, 5) for label in ("red", "blue")})
    learner.save(own.with_suffix(".safetensors"))
    return own


@pytest.fixture
def photos(write_classes: Callable[..., Path], tmp_path: Path) -> Path:
    """Class folders, a picture beside them and one below, and what is no picture."""
    folder = write_classes(tmp_path / "photos", "red", "blue", count=9, seed=1)
    (folder / "red" / "day").mkdir()
    shutil.copy(folder / "red" / "0.png", folder / "red" / "day" / "one.picture")
    shutil.copy(folder / "red" / "0.png", folder / "loose.png")
    (folder / "notes.txt").write_text("a letter")
    (folder / ".hidden.png").write_text("a letter")
    (folder / "blue" / "day").symlink_to(folder)  # leads back
    return folder


def answers(result: Result) -> list[tuple[str, str]]:
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    return [(row["image"], row["classes"][0]["label"]) for row in rows]


def test_a_folder_is_searched_for_pictures(taught: Path, photos: Path) -> None:
    result = run("predict", taught, photos, "--json")
    assert result.exit_code == 0, result.output
    files = [path for path in photos.rglob("*") if path.suffix in (".png", ".picture")]
    files = [path for path in files if not path.name.startswith(".") and not path.is_symlink()]
    expected = {str(path): "blue" if "blue" in path.parts else "red" for path in files}
    assert dict(answers(result)) == expected
    assert len(answers(result)) == len(expected) == 20


def test_answers_are_those_of_the_learner(taught: Path, photos: Path) -> None:
    learner = OnDeviceLearner(taught, taught.with_suffix(".safetensors"))
    files = sorted((photos / "red").glob("*.png"))
    rows = run("predict", taught, *files, "--json").stdout.splitlines()
    for row, expected in zip(map(json.loads, rows), learner.predict(files), strict=True):
        found = [(each["label"], each["probability"]) for each in row["classes"]]
        assert found == list(expected.ranking)


def test_what_is_bad_is_named_and_counted_and_the_rest_is_answered(
    taught: Path, photos: Path, tmp_path: Path
) -> None:
    bad = [tmp_path / "zero.jpg", photos / "red" / "letter.jpg", tmp_path / "absent.png"]
    bad[0].write_bytes(b"")
    bad[1].write_text("a letter")
    result = run("predict", taught, bad[0], photos / "red", bad[2], "--json")
    assert result.exit_code == 0, result.output
    assert len(answers(result)) == 10
    skipped = [line for line in result.stderr.splitlines() if line.startswith("note: skipped")]
    assert [line.partition(": cannot be read")[0] for line in skipped[:3]] == [
        f"note: skipped {path}" for path in bad
    ]
    assert skipped[3:] == ["note: skipped 3 of 13 images"]
    nothing = run("predict", taught, *bad)
    assert nothing.exit_code == 1
    assert nothing.stdout == ""
    assert "note: skipped 3 of 3 images" in nothing.stderr
    (tmp_path / "empty").mkdir()
    empty = run("predict", taught, tmp_path / "empty")
    assert empty.exit_code == 1
    assert "empty: holds no picture" in empty.stderr


def test_what_learn_wrote_beside_the_bundle_is_found(taught: Path, photos: Path) -> None:
    state = taught.with_suffix(".safetensors")
    result = run("predict", taught, photos / "loose.png")
    assert f"note: goes on from {state}, which lies beside the bundle" in result.stderr
    assert result.stdout.startswith(f"{photos / 'loose.png'}: red ")
    assert f"learn {taught} --images FOLDER --state {state}" in result.stderr
    none = run("predict", taught, photos / "loose.png", "--no-state")
    assert none.exit_code == 1
    assert "no class is known yet; learn some first, or name a state file" in none.stderr
    named = run("predict", taught, photos / "loose.png", "--state", state)
    assert "beside the bundle" not in named.stderr
    assert named.stdout == result.stdout


def test_answers_are_printed_as_they_come(taught: Path, photos: Path, tmp_path: Path) -> None:
    """The ninth picture is a pipe that never says anything: eight are answered before it."""
    endless = tmp_path / "endless.jpg"
    os.mkfifo(endless)
    files = [*sorted((photos / "red").glob("*.png"))[:8], endless]
    command = [sys.executable, "-m", "mobile", "predict", str(taught), *map(str, files)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(8)]
        process.send_signal(signal.SIGKILL)
    assert [line.partition(":")[0] for line in lines] == [str(path) for path in files[:8]]


def test_a_camera_gives_an_object_a_line(taught: Path, photos: Path, tmp_path: Path) -> None:
    camera = ["--camera", photos / "red", "--frames", "2"]
    (photos / "red" / "day" / "one.picture").unlink()
    rows = run("predict", taught, *camera, "--top", "1", "--json").stdout.splitlines()
    assert len(rows) == 2
    for row in map(json.loads, rows):
        assert row.keys() == {"seconds", "took", "task", "unknown", "unknown_score", "classes"}
        assert [each["label"] for each in row["classes"]] == ["red"]
    live = ["--label", "red", "--shots", "2", "--every", "0", "--live", "--json"]
    result = run("learn", taught, *camera, *live, "--out", tmp_path / "out")
    outcome, *rows = map(json.loads, result.stdout.splitlines())
    assert outcome["lessons"][0]["known"] == ["red"]
    assert [row["classes"][0]["label"] for row in rows] == ["red", "red"]
