"""The command `bench`: what it prints, and what it refuses."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mobile.cli import main
from mobile.device.program import get_threads, set_threads
from mobile.measure.speed import WARM_UP, Memory, Times, Timing

METHODS = ("query", "observe", "begin_task", "gradients", "update", "predict")
TIMES = Times(
    load_ms=120.25,
    methods={
        name: Timing(0 if name in ("begin_task", "update") else 2, 90.0 + n, 8.0 + n, 7.0, 30.0 + n)
        for n, name in enumerate(METHODS)
    },
)
MEMORY = Memory(200.0, 61.5, {"load": 20.25} | {name: 30.0 + n for n, name in enumerate(METHODS)})


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["bench", *map(str, arguments)])


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """Let the command find TIMES and MEMORY, and note what it asks for."""
    asked: dict[str, object] = {}

    def measure_times(bundle: Path, runs: int, progress) -> Times:
        asked["runs"], asked["threads"] = runs, get_threads()
        for _ in range(WARM_UP + runs):
            progress(1)
        return TIMES

    monkeypatch.setattr("mobile.measure.speed.measure_times", measure_times)
    monkeypatch.setattr("mobile.measure.speed.measure_memory", lambda bundle: MEMORY)
    return asked


def test_json_has_what_a_script_looks_for(bundle: Path, measured) -> None:
    result = run(bundle, "--json", "--runs", "4")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["query_ms"] == 8.0
    assert found["observe_ms"] == 9.0
    assert found["gradients_ms_per_image"] == 11.0 / 2
    assert found["update_ms"] == 12.0
    assert found["predict_ms"] == 13.0
    assert found["load_ms"] == 120.25
    assert found["peak_rss_mb"] == 61.5
    assert found["bare_rss_mb"] == 200.0
    assert found["peak_rss_mb_after"] == MEMORY.peak_after_mb
    assert found["methods"]["gradients"] == {
        "images": 2,
        "first_ms": 93.0,
        "median_ms": 11.0,
        "p5_ms": 7.0,
        "p95_ms": 33.0,
        "images_per_second": pytest.approx(2000 / 11),
    }
    assert found["methods"]["update"]["images_per_second"] is None
    assert found["runs"] == measured["runs"] == 4
    assert found["threads"] == get_threads()
    assert (found["micro_batch"], found["image_size"]) == (2, 8)
    assert (found["backbone"], found["target"], found["precision"]) == ("toy", "portable", "fp32")
    assert found["file_bytes"] == bundle.stat().st_size
    assert found["engine"] == "executorch"
    assert found["cpu"]
    assert found["versions"]["executorch"].startswith("1.4.")


def test_the_table_names_the_machine_and_the_conditions(bundle: Path, measured) -> None:
    result = run(bundle)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].startswith(f"{bundle}: toy for portable, fp32, ")
    assert lines[1] == "images of 8 pixels, 2 a call"
    assert f"ExecuTorch's threads: {get_threads()}; executorch 1.4.1, torch 2.13.0" in lines[2]
    assert "milliseconds of 30 warm calls" in lines[3]
    rows = {line.split()[0]: line.split()[1:] for line in lines[6:12]}
    assert rows["gradients"] == ["11.00", "7.00", "33.00", "93.00", "181.8", "33.0"]
    assert rows["update"] == ["12.00", "7.00", "34.00", "94.00", "34.0"]
    assert lines[-1] == (
        "loading takes 120.2 ms and 20.2 MB; "
        "the peak of all is 61.5 MB above the bare runtime's 200.0"
    )


def test_threads_are_those_that_were_asked_for(bundle: Path, measured) -> None:
    before = get_threads()
    wanted = before % 2 + 1
    try:
        result = run(bundle, "--threads", wanted, "--json")
        assert json.loads(result.stdout)["threads"] == measured["threads"] == wanted
    finally:
        set_threads(before)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--runs", "0"], "Invalid value for '--runs': 0 is not in the range x>=1"),
        (["--threads", "0"], "Invalid value for '--threads': 0 is not in the range x>=1"),
        (["--run-for", "3"], "No such option"),
    ],
)
def test_wrong_usage_is_one_sentence(bundle: Path, measured, options, reason) -> None:
    result = run(bundle, *options)
    assert result.exit_code == 2
    assert reason in result.stderr
    assert measured == {}


def letter(bundle: Path, path: Path) -> None:
    path.write_text("a letter to grandmother")


def without_trailer(bundle: Path, path: Path) -> None:
    path.write_bytes(bundle.read_bytes()[:-48])


def absent(bundle: Path, path: Path) -> None:
    pass


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (letter, "is not a bundle; export it again"),
        (without_trailer, "is a plain ExecuTorch program"),
        (absent, "cannot be read: No such file"),
    ],
)
def test_what_is_no_bundle_is_refused_before_any_work(
    bundle: Path, tmp_path: Path, measured, damage, reason
) -> None:
    damage(bundle, tmp_path / "x.pte")
    result = run(tmp_path / "x.pte")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: ")
    assert len(result.stderr.splitlines()) == 1
    assert reason in result.stderr
    assert measured == {}


WITHOUT_EXPORTER = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("timm", "torchao", "matplotlib", "sklearn") or name == (
            "executorch.exir"
        ):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
from mobile.cli import main
if __name__ == "__main__":
    main()
"""


def test_a_device_measures_itself(bundle: Path, tmp_path: Path) -> None:
    script = tmp_path / "device.py"  # a file, for the process that measures memory imports it too
    script.write_text(WITHOUT_EXPORTER)
    command = [sys.executable, str(script), "bench", str(bundle), "--runs", "2", "--json"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert list(found["methods"]) == list(METHODS)
    assert all(figures["median_ms"] > 0 for figures in found["methods"].values())
    assert found["peak_rss_mb"] > 0
    assert result.stderr == "timing: 5 rounds\n"
