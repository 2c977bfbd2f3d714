"""The commands of a board's owner, from the command line."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from cbpnet.data.folder import load_folder
from cbpnet.data.stream import make_stream
from cbpnet.run.state_file import load_state
from mobile.cli import main
from mobile.device.runtime import OnDeviceLearner
from mobile.measure.accuracy import Accuracy
from mobile.measure.latency import Latency
from mobile.measure.learning import Learning
from mobile.measure.results import find_results
from mobile.measure.speed import Memory

UNWRITABLE = "/proc/nowhere"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def start(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", "from mobile.cli import main; main()", *map(str, arguments)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    while not condition() and process.poll() is None:
        time.sleep(0.01)


@pytest.fixture
def photos(pictures: Callable[..., list[np.ndarray]], tmp_path: Path) -> Callable[..., Path]:
    """Write class folders of a few pictures each."""

    def write(folder: str, *labels: str, count: int = 4, seed: int = 0) -> Path:
        for label in labels:
            (tmp_path / folder / label).mkdir(parents=True)
            for number, picture in enumerate(pictures(label, count, seed)):
                Image.fromarray(picture).save(tmp_path / folder / label / f"{number}.png")
        return tmp_path / folder

    return write


@pytest.fixture
def camera(pictures: Callable[..., list[np.ndarray]], tmp_path: Path) -> Path:
    """A folder that stands in for a camera: five red pictures, then five blue ones."""
    folder = tmp_path / "camera"
    folder.mkdir()
    for number, picture in enumerate([*pictures("red", 5), *pictures("blue", 5)]):
        Image.fromarray(picture).save(folder / f"{number}.png")
    return folder


def test_latency(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = Memory(200.0, 50.0, {})
    monkeypatch.setattr("mobile.measure.latency.measure_memory", lambda path: memory)
    monkeypatch.setenv("PATH", "")  # no vcgencmd
    out = tmp_path / "new" / "latency.json"
    quick = ["--threads", "1", "--runs", "2", "--rest", "0.1", "--soak", "0.005"]
    result = run("latency", bundle, *quick, "--out", out)
    assert result.exit_code == 0, result.output
    (found,) = find_results(out).values()
    assert isinstance(found.figures, Latency)
    assert found.bundle.name == bundle.name
    assert result.stdout.startswith("not a Raspberry Pi: ")
    timing = found.figures.at[0].methods["gradients"]
    row = next(line for line in result.stdout.splitlines() if "gradients" in line)
    assert row.split() == [
        "gradients",
        f"{timing.median_ms:.2f}",
        f"{timing.p5_ms:.2f}",
        f"{timing.p95_ms:.2f}",
        f"{timing.images_per_second:.1f}",
    ]
    assert "whether it throttled is not known" in result.stdout
    assert f"next: cbpnet-mobile report {out.parent}" in result.stdout
    printed = run("latency", bundle, *quick, "--out", out, "--json")
    assert json.loads(printed.stdout)["board"]["raspberry_pi"] is False


def test_evaluate_tests_a_state_on_a_folder(bundle: Path, photos, tmp_path: Path) -> None:
    state, out = tmp_path / "state", tmp_path / "out"
    learnt = photos("photos", "red", "green")
    assert run("learn", bundle, "--images", learnt, "--out", state).exit_code == 0
    test = photos("test", "red", "green", "grey", seed=1)
    command = ["evaluate", bundle, "--state", state, "--images", test, "--out", out]
    result = run(*command)
    assert result.exit_code == 0, result.output
    (found,) = find_results(out).values()
    assert isinstance(found.figures, Accuracy)
    learner = OnDeviceLearner(bundle, state)
    right = sum(
        answer.label == label
        for label in ("green", "red")
        for answer in learner.predict(sorted((test / label).iterdir()))
    )
    assert found.figures.share == right / 8
    assert found.figures.left_out == ("grey",)
    assert f"{100 * right / 8:.1f} % of 8 images of 2 classes, among 2 known" in result.stdout
    assert "left out, not known: 1 class (grey)" in result.stderr
    again = run(*command, "--json")
    assert json.loads(again.stdout)["figures"]["images_per_second"] is None
    moved = run(*command[:4], "--images", test.rename(tmp_path / "moved"), "--out", out, "--json")
    assert json.loads(moved.stdout)["figures"]["images_per_second"] is None
    other = run(*command[:4], "--images", learnt, "--out", out)
    assert other.exit_code == 1
    assert "is of another test, which differs in images; name" in other.stderr


def test_evaluate_tests_a_state_on_a_data_set(bundle: Path, photos, tmp_path: Path) -> None:
    state, data = tmp_path / "state", photos("photos", "red", "green", count=10)
    assert run("learn", bundle, "--images", data, "--out", state).exit_code == 0
    command = ["evaluate", bundle, "--state", state, "--dataset", "folder", "--data", data]
    result = run(*command, "--test-per-class", "1", "--out", tmp_path / "out", "--json")
    found = json.loads(result.stdout)["figures"]
    assert found["data"] == "photos"
    assert [one["images"] for one in found["classes"]] == [1, 1]
    answers = (tmp_path / "out" / "answers.jsonl").read_text().splitlines()[1:]
    stream = make_stream(load_folder(data), 2, test_per_class=1)
    assert [json.loads(line)["image"] for line in answers] == [
        stream.test_source.name(int(index)) for index in stream.tasks[0].test
    ]


@pytest.mark.parametrize(
    ("options", "status", "reason"),
    [
        ([], 2, "name what to test on"),
        (["--images", "photos", "--dataset", "digits"], 2, "name what to test on"),
        (["--images", "photos", "--epochs", "3"], 2, "--epochs is of learning"),
        (["--images", "photos"], 1, "knows no class itself; name what it has learnt with --state"),
        (["--images", "photos", "--state", "none"], 1, "none does not exist"),
        (["--images", "photos", "--out", UNWRITABLE], 1, "cannot make the folder /proc/nowhere"),
    ],
)
def test_bad_input_to_a_test_is_one_sentence(
    bundle: Path, photos, tmp_path: Path, monkeypatch, options, status, reason
) -> None:
    photos("photos", "red", count=1)
    monkeypatch.chdir(tmp_path)
    result = run("evaluate", bundle, *options)
    assert result.exit_code == status
    assert reason in result.stderr
    assert "Traceback" not in result.stdout


def test_learning_from_a_camera_and_recognising_live(bundle: Path, camera, tmp_path: Path) -> None:
    state, file = tmp_path / "state", tmp_path / "new" / "learning.json"
    result = run(
        *("learn", bundle, "--camera", camera, "--label", "red", "--shots", "3", "--every", "0"),
        *("--live", "--frames", "5", "--out", state, "--result", file),
    )
    assert result.exit_code == 0, result.output
    assert "task 1 (new: red): 3 images" in result.stdout
    seen = [line for line in result.stdout.splitlines() if "ms)" in line]
    assert len(seen) == 5
    assert all(": red 100.0 % (" in line for line in seen)
    (found,) = find_results(file).values()
    assert isinstance(found.figures, Learning)
    assert (found.figures.images, found.figures.epochs, found.figures.new) == (3, 5, ("red",))

    expected = OnDeviceLearner(bundle)
    expected.learn({"red": sorted(camera.iterdir())[:3]})
    expected.save(tmp_path / "expected")
    wanted = load_state(tmp_path / "expected")[0]
    assert all(np.array_equal(v, wanted[name]) for name, v in load_state(state)[0].items())

    live = run("predict", bundle, "--state", state, "--camera", camera, "--frames", "2")
    assert live.stdout.count(": red 100.0 % (") == 2


@pytest.mark.parametrize(
    ("options", "status", "reason"),
    [
        ([], 2, "name one source of images"),
        (["--camera", "camera", "--images", "camera"], 2, "name one source of images"),
        (["--camera", "camera"], 2, "--camera needs --label"),
        (["--images", "camera", "--live"], 2, "--label and --live are for --camera"),
        (["--camera", "webcam", "--label", "x"], 1, "camera 'webcam' is unknown"),
        (["--camera", "camera", "--label", "x", "--shots", "11"], 1, "ends after 10 pictures of"),
        (["--camera", "v4l2:0", "--label", "x"], 1, "needs the package cv2"),
        (
            ["--images", "camera", "--result", f"{UNWRITABLE}/x.json"],
            1,
            "cannot make the folder /proc/nowhere",
        ),
    ],
)
def test_bad_input_to_learning_from_a_camera(
    bundle: Path, camera: Path, tmp_path: Path, monkeypatch, options, status, reason
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "cv2", None)
    result = run("learn", bundle, "--every", "0", "--out", "state", *options)
    assert result.exit_code == status
    assert reason in result.stderr
    assert "Traceback" not in result.stdout
    assert not Path("state").exists()


def test_predict_takes_images_or_a_camera(bundle: Path) -> None:
    for arguments in ([], ["x.png", "--camera", "picamera2"]):
        result = run("predict", bundle, *arguments)
        assert result.exit_code == 2
        assert "name images, or --camera" in result.stderr


def test_sigterm_in_the_middle_of_learning_leaves_the_state(
    bundle: Path, photos, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    assert run("learn", bundle, "--images", photos("a", "red"), "--out", state).exit_code == 0
    before = state.read_bytes()
    more = photos("b", "blue", count=20)
    process = start(
        *("learn", bundle, "--images", more, "--state", state, "--epochs", "1000000"),
    )
    assert process.stderr is not None
    said = ""
    while "learning:" not in said and process.poll() is None:
        said += process.stderr.read(1)
    process.send_signal(signal.SIGTERM)
    _, rest = process.communicate()
    assert process.returncode == 128 + signal.SIGTERM
    assert "stopped; a state is that of the last finished lesson" in rest
    assert "Traceback" not in rest
    assert state.read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b", "state"}


def test_watching_an_inbox_goes_on_after_sigterm(bundle: Path, photos, tmp_path: Path) -> None:
    inbox, state = tmp_path / "inbox", tmp_path / "new" / "state"
    photos("inbox/waiting/1", "red")
    photos("inbox/waiting/2", "blue", count=20)
    (inbox / "waiting" / "2" / "blue" / "broken.png").touch()
    command = ["watch", bundle, "--inbox", inbox, "--state", state, "--epochs"]
    process = start(*command, "1000000", "--every", "0.1")
    wait_for(lambda: (inbox / "learning" / "000000-1").exists(), process)
    process.send_signal(signal.SIGTERM)
    process.communicate()
    assert process.returncode == 128 + signal.SIGTERM
    assert not state.exists()

    result = run(*command, "1", "--once")
    assert result.exit_code == 0, result.output
    assert "000000-1: learnt 4 images, new: red in " in result.stdout
    assert "000001-2: learnt 20 images, new: blue in " in result.stdout
    assert "note: " in result.stderr
    assert "broken.png: cannot be read as an image" in result.stderr
    assert load_state(state)[1].class_names == ("red", "blue")
    learnt = sorted(path.name for path in (inbox / "learnt").iterdir())
    assert learnt == ["000000-1", "000001-2", "000001-2.txt"]
    said = (inbox / "learnt" / "000001-2.txt").read_text()
    assert "broken.png: cannot be read as an image" in said

    (inbox / "waiting" / "3" / "cat").mkdir(parents=True)
    result = run(*command, "1", "--once")
    assert f"000002-3: refused, see {inbox / 'refused' / '000002-3'}.txt" in result.stdout
    refused = run("watch", bundle, "--inbox", UNWRITABLE, "--state", state, "--once")
    assert refused.exit_code == 1
    assert "cannot make the folder /proc/nowhere" in refused.stderr


def test_watching_goes_on_in_the_last_task_when_all_are_begun(
    bundle: Path, write_classes, tmp_path: Path
) -> None:
    inbox, state = tmp_path / "inbox", tmp_path / "state"
    for number, colour in enumerate(("red", "green", "blue", "grey", "white")):
        write_classes(inbox / "waiting" / str(number), colour)
    write_classes(inbox / "waiting" / "5", "red", seed=1)  # known: it joins nothing
    write_classes(inbox / "waiting" / "6", "black", "pink")  # one more than there is room for
    result = run(
        *("watch", bundle, "--inbox", inbox, "--state", state, "--epochs", "1", "--once"),
    )
    assert result.exit_code == 0, result.output
    assert [line for line in result.stderr.splitlines() if line.startswith("note")] == [
        f"note: all 3 of the bundle's tasks are begun: {colours} join task 3"
        for colours in ("grey", "white", "black, pink")
    ]
    assert "000004-4: learnt 3 images, new: white in " in result.stdout
    assert "000005-5: learnt 3 images in " in result.stdout
    assert "000006-6: refused" in result.stdout
    found, info = load_state(state)
    assert found["classes.task"][:5].tolist() == [0, 1, 2, 2, 2]
    assert info.progress["lessons"] == 6


def test_report(bundle: Path, camera: Path, tmp_path: Path) -> None:
    file, page = tmp_path / "results" / "learning.json", tmp_path / "new" / "page.html"
    learn = ["learn", bundle, "--camera", camera, "--label", "red", "--shots", "3", "--every", "0"]
    assert run(*learn, "--out", tmp_path / "state", "--result", file).exit_code == 0
    result = run("report", tmp_path / "results", "--out", page)
    assert result.exit_code == 0, result.output
    assert "1 result of 1 board: not a Raspberry Pi: " in result.stdout
    assert page.read_text().startswith("<!doctype html>")
    assert json.loads(page.with_suffix(".json").read_text())["results"][0]["kind"] == "learning"
    for arguments, status, reason in (
        ([tmp_path / "camera"], 1, "holds no result; measure some"),
        ([tmp_path / "nowhere"], 2, "does not exist"),
        ([tmp_path / "results", "--out", "x.json"], 2, "--out names the page"),
        ([tmp_path / "results", "--out", f"{UNWRITABLE}/x.html"], 1, "cannot make the folder"),
    ):
        result = run("report", *arguments)
        assert result.exit_code == status
        assert reason in result.stderr


DEVICE = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        lacks = ("timm", "torchao", "torchvision", "sklearn", "matplotlib", "pandas", "cv2")
        if name.partition(".")[0] in lacks or name == "executorch.exir":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
from click.testing import CliRunner
from mobile.measure.speed import Memory
from mobile.cli import main
import mobile.measure.latency as latency
latency.measure_memory = lambda path: Memory(1.0, 1.0, {})
bundle, folder, camera = sys.argv[1:]
for command in (
    f"learn {bundle} --images {folder}/photos --out {folder}/s --result {folder}/r/learn.json",
    f"learn {bundle} --camera {camera} --label x --shots 2 --every 0 --state {folder}/s --live",
    f"predict {bundle} --state {folder}/s --camera {camera} --frames 1",
    f"evaluate {bundle} --state {folder}/s --images {folder}/photos --out {folder}/r/test",
    f"latency {bundle} --threads 1 --runs 1 --rest 0 --out {folder}/r/latency.json",
    f"watch {bundle} --inbox {folder}/inbox --state {folder}/s --once",
    f"report {folder}/r --out {folder}/page.html",
):
    result = CliRunner().invoke(main, command.split())
    assert result.exit_code == 0, (command, result.output, result.exception)
print("all of them")
"""


def test_the_commands_run_without_timm_torchao_and_exporter(
    bundle: Path, photos, camera: Path, tmp_path: Path
) -> None:
    photos("photos", "red", "green")
    command = [sys.executable, "-c", DEVICE, str(bundle), str(tmp_path), str(camera)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.stdout == "all of them\n", result.stderr
