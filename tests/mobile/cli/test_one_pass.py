"""learn, predict, watch and move with a bundle that learns in one pass, from the command line."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from cbpnet.run.class_means import read_class_means
from cbpnet.run.lesson import Decision, Reason
from cbpnet.run.state_file import load_state
from mobile.cli import main
from mobile.cli.lesson_report import decision_words
from mobile.device.runtime import OnDeviceLearner


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def photos(pictures: Callable[..., list[np.ndarray]], tmp_path: Path) -> Callable[..., Path]:
    """Write class folders of a few pictures each."""

    def write(folder: str, *labels: str, count: int = 5, seed: int = 0) -> Path:
        for label in labels:
            (tmp_path / folder / label).mkdir(parents=True)
            for number, picture in enumerate(pictures(label, count, seed)):
                Image.fromarray(picture).save(tmp_path / folder / label / f"{number}.png")
        return tmp_path / folder

    return write


def kept_files(state: Path) -> list[Path]:
    return list(state.parent.glob(f"{state.name}.*.kept.zip"))


def test_lesson_after_lesson_in_words(one_pass_bundle: Path, photos, tmp_path: Path) -> None:
    bundle, state = one_pass_bundle, tmp_path / "pets.safetensors"
    first = run("learn", bundle, "--images", photos("a", "red", "green"), "--out", state)
    assert first.exit_code == 0, first.output
    lines = first.stderr.splitlines()
    assert "learning: 10 images" in lines
    (forecast,) = (line for line in lines if line.startswith("adapting (first lesson of enough cl"))
    assert re.search(
        r"\): about 7 passes an image, \d+ s$", forecast
    )  # two epochs of three, a look
    assert "adapting: 30 images" in lines
    assert first.stdout.splitlines()[0] == (
        "lesson (new: green, red): 10 images; 100 % right left out; the features were adapted "
        "(first lesson of enough classes)"
    )
    assert f"wrote {state}: 2 of 6 classes, 0.01 MB; learning took " in first.stdout
    assert "kept" not in first.stdout

    more = photos("b", "blue", "red", seed=1)
    second = run("learn", bundle, "--images", more, "--state", state, "--keep", "2")
    assert "adapting" not in second.stderr
    assert second.stdout.startswith(
        "lesson (new: blue; known: red): 10 images; 100 % right left out; the features stay "
        "(images like the backbone's)\n"
    )
    assert "kept beside it: 4 pictures, 0.00 MB\n" in second.stdout
    assert len(kept_files(state)) == 1

    last = run("learn", bundle, "--images", photos("c", "white"), "--state", state)
    assert "the features stay (one class has nothing to be told apart from)" in last.stdout
    assert "kept beside it: 6 pictures" in last.stdout
    assert len(kept_files(state)) == 2  # and those of the state before
    none = run("learn", bundle, "--images", photos("d", "grey"), "--state", state, "--keep", "0")
    assert none.exit_code == 0
    assert kept_files(state) == []


def test_a_lesson_as_json_and_as_a_result_for_a_report(
    one_pass_bundle: Path, photos, tmp_path: Path
) -> None:
    state, result = tmp_path / "state", tmp_path / "learn.json"
    images = photos("a", "red", "green")
    options = ["--epochs", "3", "--keep", "1", "--result", result, "--json"]
    outcome = json.loads(
        run("learn", one_pass_bundle, "--images", images, "--out", state, *options).stdout
    )
    (lesson,) = outcome["lessons"]
    decision, recall = lesson.pop("decision"), lesson.pop("recall")
    assert [(one["label"], one["right"], one["images"]) for one in recall] == [
        ("green", 5, 5),
        ("red", 5, 5),
    ]
    assert lesson == {"task": None, "new": ["green", "red"], "known": [], "images": 10}
    assert (decision["reason"], decision["adapts"], decision["passes"]) == ("first", True, 100)
    assert decision["accuracy"] == 1
    (kept,) = kept_files(state)
    assert outcome["kept"]["pictures"] == 2
    assert 0 < outcome["kept"]["bytes"] < kept.stat().st_size
    assert json.loads(result.read_text())["figures"]["epochs"] == 5  # looks at each image


def test_predicting_needs_no_pictures_and_names_no_prompt(
    one_pass_bundle: Path, photos, tmp_path: Path
) -> None:
    state, images = tmp_path / "state", photos("a", "red", "green")
    learn = ["learn", one_pass_bundle, "--images", images, "--keep", "1"]
    assert run(*learn, "--out", state).exit_code == 0
    picture = images / "red" / "0.png"
    alone = tmp_path / "elsewhere" / "state"
    alone.parent.mkdir()
    shutil.copy(state, alone)
    (best,) = OnDeviceLearner(one_pass_bundle, state).predict(picture)
    result = run("predict", one_pass_bundle, picture, "--state", alone, "--top", "1")
    assert result.stdout == f"{picture}: {best.label} {100 * best.probability:.1f} %\n"
    row = json.loads(run("predict", one_pass_bundle, picture, "--state", alone, "--json").stdout)
    assert row["task"] is None
    refused = run(*learn[:4], "--state", alone)
    assert refused.exit_code == 1
    assert "which cannot be read (No such file or directory); put the file there" in refused.stderr
    assert "go on without pictures (--keep 0)" in refused.stderr
    assert run(*learn[:4], "--state", alone, "--keep", "0").exit_code == 0


@pytest.mark.parametrize(
    ("options", "status", "reason"),
    [
        (["--task", "1"], 1, "task is 1 and this bundle has no tasks"),
        (["--keep", "-1"], 2, "not in the range"),
    ],
)
def test_what_a_one_pass_bundle_refuses(
    one_pass_bundle: Path, photos, tmp_path: Path, options, status, reason
) -> None:
    images, out = photos("a", "red"), tmp_path / "state"
    result = run("learn", one_pass_bundle, "--images", images, "--out", out, *options)
    assert result.exit_code == status
    assert reason in result.stderr
    assert "Traceback" not in result.output
    assert not out.exists()


def test_a_bundle_with_tasks_keeps_no_pictures(bundle: Path, photos, tmp_path: Path) -> None:
    out = tmp_path / "state"
    result = run("learn", bundle, "--images", photos("a", "red"), "--out", out, "--keep", "2")
    assert result.exit_code == 1
    assert "keep is 2 and this bundle, whose adaptation is cbpnet, learns without" in result.stderr


def test_watching_an_inbox(one_pass_bundle: Path, photos, tmp_path: Path) -> None:
    state = tmp_path / "state"
    photos("inbox/waiting/a", "red", "green")
    photos("inbox/waiting/b", "blue")
    command = ["watch", one_pass_bundle, "--inbox", tmp_path / "inbox", "--state", state, "--once"]
    result = run(*command, "--keep", "2")
    assert result.exit_code == 0, result.output
    first, second = result.stdout.splitlines()[1:]
    assert re.match(
        r"000000-a: learnt 10 images, new: green, red; 100 % right left out; the features were "
        r"adapted \(first lesson of enough classes\) in \d+\.\d s; 2 classes are known$",
        first,
    )
    assert "000001-b: learnt 5 images, new: blue; the features stay (one class" in second
    learner = OnDeviceLearner(one_pass_bundle, state)
    assert (learner.lessons, learner.kept.count) == (2, 6)


def test_every_reason_has_words() -> None:

    for reason in get_args(Reason):
        words = decision_words(Decision(reason, None, None, 0))
        assert words.startswith("the features ")


def test_moving_the_classes_of_an_older_state(
    bundle: Path, one_pass_bundle: Path, photos, pictures, tmp_path: Path
) -> None:
    old, out = tmp_path / "old.safetensors", tmp_path / "new" / "pets.safetensors"
    images = photos("a", "red", "green", "blue")
    assert run("learn", bundle, "--images", images, "--out", old).exit_code == 0
    refused = run("learn", one_pass_bundle, "--images", images, "--state", old)
    assert refused.exit_code == 1
    assert f"`cbpnet-mobile move {old} --bundle BUNDLE --out FILE` takes its cl" in refused.stderr

    result = run("move", old, "--bundle", one_pass_bundle, "--out", out)
    assert result.exit_code == 0, result.output
    assert f"wrote {out}: 3 classes, 0.00 MB; their means were taken without a pro" in result.stdout
    assert f"next: cbpnet-mobile learn {one_pass_bundle} --images FOLDER --state {out}" in (
        result.stdout
    )
    state, info = load_state(out)
    means = read_class_means(old)
    assert info.class_names == means.class_names == ("blue", "green", "red")
    assert state["classes.count"].tolist() == [1, 1, 1, 0, 0, 0]
    assert np.array_equal(state["classes.mean"][:3], means.mean)
    assert not state["classes.scatter"].any()
    # Without scatter the readout is the cosine to the means, both from their middle.
    direction, weight = means.mean - means.mean.mean(axis=0), state["readout.weight"][:3]
    lengths = np.linalg.norm(direction, axis=1) * np.linalg.norm(weight, axis=1)
    np.testing.assert_allclose((direction * weight).sum(axis=1) / lengths, np.ones(3), rtol=1e-5)
    learner = OnDeviceLearner(one_pass_bundle, out)
    learner.learn({label: pictures(label, 5, seed=3) for label in ("red", "white")})
    for label in ("red", "green", "blue", "white"):
        found = learner.predict(pictures(label, 5, seed=4))
        assert sum(one.label == label for one in found) >= 4, label


def test_what_cannot_be_moved_is_one_sentence(
    bundle: Path, other_bundle: Path, one_pass_bundle: Path, photos, tmp_path: Path
) -> None:
    images, old, foreign, new = (tmp_path / name for name in ("photos", "old", "foreign", "new"))
    photos("photos", "red", "green")
    for each, file in ((bundle, old), (other_bundle, foreign), (one_pass_bundle, new)):
        assert run("learn", each, "--images", images, "--out", file).exit_code == 0
    for state, target, out, reason in (
        (tmp_path / "nowhere", one_pass_bundle, "out", "nowhere does not exist or is not a file"),
        (new, one_pass_bundle, "out", "it is a one-pass learner's already; go on from it with --s"),
        (foreign, one_pass_bundle, "out", "made with weights 'ffffffffffffffff', this learner has"),
        (old, bundle, "out", "does not learn in one pass, its adaptation is cbpnet; export one"),
        (old, one_pass_bundle, "new", "new exists; name a file that does not, with --out"),
        (old, tmp_path / "x.pte", "out", "x.pte cannot be read: No such file"),
    ):
        result = run("move", state, "--bundle", target, "--out", tmp_path / out)
        assert result.exit_code == 1
        assert reason in result.stderr
        assert "Traceback" not in result.output
        assert not (tmp_path / "out").exists()
