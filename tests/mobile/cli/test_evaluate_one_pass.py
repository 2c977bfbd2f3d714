"""``cbpnet-mobile evaluate`` on a bundle of the one-pass learner."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

import cbpnet.run.one_pass_contender
from cbpnet.data.folder import load_folder
from cbpnet.data.stream import make_stream
from cbpnet.method.eager import EagerOnePass
from cbpnet.run.one_pass_contender import OnePassContender
from cbpnet.run.protocol import ProtocolRecord, run_protocol
from cbpnet.run.training import TrainingConfig
from mobile.cli import main
from mobile.device.bundle import read_manifest

EVALUATE = ["--dataset", "folder", "--classes-per-task", "2", "--epochs", "2", "--batch-size", "3"]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def folder(pictures: Callable[..., list[np.ndarray]], tmp_path: Path) -> Path:
    """Class folders of nine pictures each."""
    for label in ("red", "green", "blue", "grey", "white"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number, picture in enumerate(pictures(label, 9)):
            Image.fromarray(picture).save(tmp_path / "photos" / label / f"{number}.png")
    return tmp_path / "photos"


@pytest.mark.parametrize("keep", [0, 2])
def test_it_is_the_protocol_of_the_learner_in_pytorch(
    one_pass_bundle: Path, one_pass_eager: EagerOnePass, folder: Path, tmp_path: Path, keep: int
) -> None:
    out = tmp_path / "out"
    options = ["--data", folder, "--seed", "4", "--keep", keep, "--out", out]
    result = run("evaluate", one_pass_bundle, *EVALUATE, *options)
    assert result.exit_code == 0, result.output
    (row,) = json.loads((out / "results.json").read_text())["runs"]
    stream = make_stream(load_folder(folder), 2, seed=4)
    config = one_pass_eager.config
    contender = OnePassContender(
        one_pass_eager,
        stream,
        read_manifest(one_pass_bundle).preprocessing,
        TrainingConfig.of(config, epochs=2, batch_size=3),
        4,
        {"it": config.readout.kind},
        keep,
    )
    expected = ProtocolRecord(tuple(run_protocol(contender, stream))).result("it", stream, 4)
    np.testing.assert_allclose(np.array(row["matrix"], dtype=float), expected.matrix)
    assert row["method"] == "one-pass, portable fp32"
    assert row["lessons_adapted"] == expected.lessons_adapted >= 1
    assert row["learning_forwards"] == pytest.approx(expected.learning_forwards)
    assert row["predicting_forwards"] == 1
    assert f"- kept pictures a class: {keep}" in (out / "table.md").read_text()


def test_an_interrupted_one_goes_on_and_another_one_is_refused(
    one_pass_bundle: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    options = [one_pass_bundle, *EVALUATE, "--data", folder, "--keep", "2"]
    assert run("evaluate", *options, "--out", whole).exit_code == 0

    learn_lesson = cbpnet.run.one_pass_contender.learn_lesson

    def interrupt_the_second(learner, state, *rest):  # type: ignore[no-untyped-def]
        if state["lessons.count"] == 1:
            raise KeyboardInterrupt
        return learn_lesson(learner, state, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(cbpnet.run.one_pass_contender, "learn_lesson", interrupt_the_second)
        assert run("evaluate", *options, "--out", stopped).exit_code == 130
    assert run("evaluate", *options, "--out", stopped).exit_code == 0
    matrices = [
        [row["matrix"] for row in json.loads((out / "results.json").read_text())["runs"]]
        for out in (whole, stopped)
    ]
    assert matrices[0] == matrices[1]
    other = run("evaluate", *options, "--out", stopped, "--keep", "3")
    assert other.exit_code == 1
    assert "is of another run: kept pictures was 2 and is 3 now" in other.stderr
