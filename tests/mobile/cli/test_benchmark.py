"""``cbpnet-mobile benchmark`` end to end on a few digits."""

import base64
import json
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

import mobile.cli.digits_demo
from cbpnet.backbone.vit import load_backbone
from cbpnet.data.digits import load_digits
from cbpnet.data.pixels import load_batch, normalise
from cbpnet.data.stream import make_stream
from cbpnet.method.features import normalise_feature
from cbpnet.study.closed_form import NearestClassMean
from cbpnet.study.methods import METHODS
from mobile.cli import main

Command = Callable[..., Result]


def test_writes_the_report_of_every_method(digits: Command, tmp_path: Path) -> None:
    result = digits("benchmark", "--seed", "0", "--projection-size", "50", "--out", str(tmp_path))
    assert result.exit_code == 0, result.output
    names = {path.name for path in tmp_path.iterdir()}
    assert {"results.json", "results.csv", "table.md", "methods.png"} <= names
    for method in METHODS:
        assert f"| {method} " in result.stdout
        assert (tmp_path / "runs" / f"{method}-seed0.json").exists()
    report = json.loads((tmp_path / "results.json").read_text())
    runs = {run["method"]: run for run in report["runs"]}
    shared = ("dualprompt", "dualprompt+rls"), ("cbpnet", "cbpnet+means"), ("cbpnet", "cbpnet+rls")
    for one, other in shared:
        assert runs[one]["train_seconds"] == runs[other]["train_seconds"]
    assert runs["dualprompt"]["trainable_share"] != runs["cbpnet"]["trainable_share"]


def test_a_peers_row_is_what_it_scores_on_the_query_features(
    digits: Command, micro_weights: Path, tmp_path: Path
) -> None:
    options = ["--seed", "3", "--method", "ncm", "--out", str(tmp_path), "--json"]
    result = digits("benchmark", *options)
    assert result.exit_code == 0
    (summary,) = json.loads(result.stdout)
    assert (summary["method"], summary["seeds"]) == ("ncm", [3])
    (run,) = json.loads((tmp_path / "results.json").read_text())["runs"]

    backbone = load_backbone("vit_micro_patch8_32", micro_weights)
    stream = make_stream(load_digits(), 2, 6, 4, 3)
    prep = backbone.preprocessing

    def features(source, indices):  # type: ignore[no-untyped-def]
        pixels = load_batch(source, indices.tolist(), prep)
        with torch.no_grad():
            images = torch.from_numpy(normalise(pixels, prep.mean, prep.std))
            return normalise_feature(backbone(images))

    peer = NearestClassMean(64, 10)
    for task in stream.tasks:
        peer.fit_task(features(stream.train_source, task.train), torch.tensor(task.train_labels))
        for known in stream.tasks[: task.index + 1]:
            scores = peer.scores(features(stream.test_source, known.test))
            right = np.mean(scores.argmax(1).numpy() == known.test_labels)
            assert run["matrix"][task.index][known.index] == pytest.approx(right)


def test_finished_runs_are_kept_and_those_of_other_settings_refused(
    digits: Command, tmp_path: Path
) -> None:
    options = ["benchmark", "--seed", "0", "--method", "cbpnet", "--out", str(tmp_path)]
    assert digits(*options).exit_code == 0
    kept = tmp_path / "runs" / "cbpnet-seed0.json"
    before = kept.read_bytes(), kept.stat().st_mtime_ns
    assert digits(*options).exit_code == 0
    assert (kept.read_bytes(), kept.stat().st_mtime_ns) == before
    other = digits(*options, "--batch-size", "3")
    assert other.exit_code == 1
    assert "was run with other settings" in other.stderr
    assert "batch" in other.stderr
    assert kept.read_bytes() == before[0]
    kept.write_text("{}")
    broken = digits(*options)
    assert broken.exit_code == 1
    assert "is not a kept run" in broken.stderr


@pytest.mark.parametrize(
    ("options", "status", "reason"),
    [
        (["--method", "ewc"], 2, "'ewc' is not one of"),
        (["--holdout", "train"], 2, "'train' is not one of"),
        (["--dtype", "float16"], 2, "'float16' is not one of"),
        (["--lerning-rate", "1"], 2, "No such option"),
        (["--budget", "0.001"], 1, "shorten the prompts or the block"),
        (["--classes-per-task", "11"], 1, "classes per task is 11"),
        (["--data", "digits.zip"], 1, "takes no path"),
        (["--weights", "missing.safetensors"], 1, "missing.safetensors"),
        (["--image-size", "33"], 1, "33"),
    ],
)
def test_bad_input_is_one_sentence(
    digits: Command, tmp_path: Path, options: list[str], status: int, reason: str
) -> None:
    result = digits("benchmark", "--out", str(tmp_path / "out"), *options)
    assert result.exit_code == status
    assert reason in result.stderr
    assert "Traceback" not in result.output
    assert not (tmp_path / "out" / "results.json").exists()


def test_demo_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mobile.cli.digits_demo, "PRETRAINING_EPOCHS", 1)
    monkeypatch.setattr(mobile.cli.digits_demo, "METHODS", ("ncm", "cbpnet"))
    result = CliRunner().invoke(main, ["demo", "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    rows = [line.split() for line in result.stdout.splitlines()]
    assert ["0-4", "5-6", "7-8", "9"] in rows
    assert len(next(row for row in rows if row[:1] == ["cbpnet"])) == 5
    with Image.open(tmp_path / "methods.png") as picture:
        assert len(set(picture.convert("L").tobytes())) > 10
    assert (tmp_path / "micro_vit.safetensors").stat().st_size > 800_000

    page, command = result.stdout.splitlines()[-2:]
    assert str(tmp_path / "demo.html") in page
    assert command.startswith("next: cbpnet-mobile predict ")
    words = shlex.split(command.removeprefix("next: cbpnet-mobile "))
    pictures = sorted((tmp_path / "pictures").iterdir())
    assert [path.name for path in pictures] == [f"{digit}.png" for digit in range(10)]
    assert words.pop() == f"{tmp_path}/pictures/*.png"
    predicted = CliRunner().invoke(main, [*words, *map(str, pictures), "--json"])
    answers = [json.loads(line)["classes"] for line in predicted.stdout.splitlines()]
    text = (tmp_path / "demo.html").read_text(encoding="utf-8")
    for digit, ((best, *_), path) in enumerate(zip(answers, pictures, strict=True)):
        assert f"{digit} taken for {best['label']}" in text
        assert base64.b64encode(path.read_bytes()).decode() in text


def test_the_demos_pictures_are_test_images_that_were_not_learnt(tmp_path: Path) -> None:
    stream = mobile.cli.digits_demo.PROTOCOL.stream(load_digits(), 0)
    test, labels = stream.test_source, stream.test_source.labels
    for name, path in mobile.cli.digits_demo._write_pictures(stream, tmp_path).items():
        with Image.open(path) as picture:
            small = np.asarray(picture.resize((8, 8), Image.Resampling.BOX), dtype=float)
        distances = [
            np.abs(np.asarray(test.image(index), dtype=float) - small).mean()
            for index in range(len(test))
        ]
        nearest = int(np.argmin(distances))
        assert str(labels[nearest]) == name
        assert distances[nearest] < 25  # of 255: enlarging smooths
