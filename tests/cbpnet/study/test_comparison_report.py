import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import cbpnet.host.atomic
import cbpnet.study.comparison_report
from cbpnet.host.errors import InputError
from cbpnet.run.metrics import MethodKind, RunResult, summarise
from cbpnet.study.comparison_report import format_table, write_report

NAN = np.nan
CONDITIONS = {
    "backbone": "vit_tiny_patch16_224",
    "seeds": (0, 1),
    "folder": Path("data"),
    "accuracy of the last epoch": NAN,
}


def run(method, seed, final, **changes):
    """Matrix [[0.9, -], final]: average (f0 + f1) / 2, forgetting 0.9 - f0."""
    fields = {
        "prompt_selection": None,
        "train_seconds": 10.0,
        "eval_seconds": 2.5,
        "peak_rss_mb": 512.0,
    }
    matrix = np.array([[0.9, NAN], final])
    return RunResult(method, seed, matrix, (20, 30), **(fields | changes))


RUNS = [
    run(
        "CBPNet + class means", 0, [0.7, 0.9], prompt_selection=0.25, trainable_share=0.00187,
        learning_forwards=10.0, predicting_forwards=2,
        extra={"losses": np.array([0.5, NAN]), "steps": np.int64(3), "done": True},
    ),
    run(
        "CBPNet + class means", 1, [0.5, 0.9], prompt_selection=0.75, trainable_share=0.00187,
        train_seconds=14.0, learning_forwards=10.0, predicting_forwards=2,
    ),
    run("ridge", 0, [0.6, 0.8], kind=MethodKind.CLOSED_FORM, lessons_adapted=3),
]  # fmt: skip


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report") / "new" / "folder"
    return write_report(RUNS, CONDITIONS, folder)


def named(report, name):
    (path,) = [path for path in report if path.name == name]
    return path


def test_table_worked_out_by_hand():
    # CBPNet: averages 0.8 and 0.7, so 75 +- 7.07; incremental (0.9 + 0.8) / 2 and
    # (0.9 + 0.7) / 2, so 82.5 +- 3.54; forgetting 0.2 and 0.4; learning 0.9 twice.
    header, rule, cbpnet, ridge = format_table(summarise(RUNS)).splitlines()
    cells = [
        [cell.strip() for cell in row.strip("|").split("|")] for row in (header, cbpnet, ridge)
    ]
    assert dict(zip(cells[0], cells[1], strict=True)) == {
        "method": "CBPNet + class means",
        "learns by": "gradient",
        "average accuracy": "75.00 ± 7.07",
        "incremental accuracy": "82.50 ± 3.54",
        "forgetting": "30.00 ± 14.14",
        "learning accuracy": "90.00 ± 0.00",
        "prompt selection": "50.00 ± 35.36",
        "adapted": "-",
        "forwards to learn": "10.0 ± 0.0",
        "to predict": "2 ± 0",
        "train seconds": "12.0 ± 2.8",
        "trainable %": "0.187",
    }
    assert cells[2] == [
        "ridge", "closed form", "70.00", "80.00", "30.00", "85.00", "-", "3.0", "-", "-", "10.0",
        "-",
    ]  # fmt: skip
    assert len({len(row) for row in (header, rule, cbpnet, ridge)}) == 1
    assert set(rule) == set("|-:")


def test_report_returns_the_files_that_it_wrote(report):
    assert [path.name for path in report] == [
        "results.json",
        "results.csv",
        "table.md",
        "methods.png",
        "accuracy_over_tasks.png",
        "matrix-cbpnet-class-means-seed0.png",
        "matrix-cbpnet-class-means-seed1.png",
        "matrix-ridge-seed0.png",
    ]
    assert set(report[0].parent.iterdir()) == set(report)


def test_plots_are_pictures(report):
    for path in report:
        if path.suffix == ".png":
            with Image.open(path) as image:
                assert np.asarray(image.convert("L")).std() > 5


def test_json_holds_everything(report):
    text = named(report, "results.json").read_text(encoding="utf-8")
    document = json.loads(text, parse_constant=lambda name: pytest.fail(f"not JSON: {name}"))
    assert text == json.dumps(document, indent=2, sort_keys=True) + "\n"
    assert document["conditions"] == {
        "backbone": "vit_tiny_patch16_224",
        "seeds": [0, 1],
        "folder": "data",
        "accuracy of the last epoch": None,
    }
    first, _, ridge = document["runs"]
    assert first["matrix"] == [[0.9, None], [0.7, 0.9]]
    assert first["test_images"] == [20, 30]
    assert first["extra"] == {"losses": [0.5, None], "steps": 3, "done": True}
    assert first["average_accuracy"] == pytest.approx(0.8)
    assert ridge["kind"] == "closed form"
    assert ridge["prompt_selection"] is None
    assert ridge["forgetting"] == pytest.approx(0.3)
    cbpnet, _ = document["summary"]
    assert cbpnet["average_accuracy"] == {
        "mean": pytest.approx(0.75),
        "deviation": pytest.approx(0.0707, abs=1e-4),
    }
    environment = document["environment"]
    assert environment["torch"] == torch.__version__
    assert environment["threads"] == torch.get_num_threads()
    assert environment["python"].startswith("3.")
    assert environment["timm"]
    assert environment["cpu"]


def test_csv_has_a_row_for_each_run(report):
    with named(report, "results.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["method"], row["seed"]) for row in rows] == [
        ("CBPNet + class means", "0"),
        ("CBPNet + class means", "1"),
        ("ridge", "0"),
    ]
    assert float(rows[1]["average_accuracy"]) == pytest.approx(0.7)
    assert float(rows[1]["forgetting"]) == pytest.approx(0.4)
    assert float(rows[1]["learning_accuracy"]) == pytest.approx(0.9)
    assert float(rows[0]["peak_rss_mb"]) == 512
    assert rows[2]["prompt_selection"] == ""
    assert [row["lessons_adapted"] for row in rows] == ["", "", "3"]
    assert [row["learning_forwards"] for row in rows] == ["10.0", "10.0", ""]


def test_markdown_has_table_and_conditions(report):
    text = named(report, "table.md").read_text(encoding="utf-8")
    assert format_table(summarise(RUNS)) in text
    assert "- backbone: vit_tiny_patch16_224\n" in text


def test_failure_keeps_the_older_file(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    (tmp_path / "results.json").write_text("older")
    monkeypatch.setattr(cbpnet.host.atomic.os, "fsync", fail)
    with pytest.raises(InputError, match=r"results\.json: No space left"):
        write_report(RUNS, CONDITIONS, tmp_path)
    assert list(tmp_path.iterdir()) == [tmp_path / "results.json"]
    assert (tmp_path / "results.json").read_text() == "older"


def test_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("kept")
    with pytest.raises(InputError, match=r"cannot make the folder .*file/report"):
        write_report(RUNS, CONDITIONS, tmp_path / "file" / "report")


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        ([], "there are no results"),
        ([RUNS[0], RUNS[0]], r"CBPNet \+ class means has the seeds \[0, 0\]"),
        (
            [run("CBPNet, means", 0, [0.5, 0.5]), run("CBPNet means", 0, [0.5, 0.5])],
            "'CBPNet, means' and 'CBPNet means' need file names that differ",
        ),
        (
            [RUNS[0], RunResult("x", 0, np.array([[0.5]]), (1,), None, 1.0, 1.0, 1.0)],
            r"the runs have \[1, 2\] tasks",
        ),
    ],
)
def test_results_that_make_no_report_are_refused(tmp_path, runs, message):
    with pytest.raises(InputError, match=message):
        write_report(runs, CONDITIONS, tmp_path)
    assert list(tmp_path.iterdir()) == []
