"""The on-device learner: what it learns, keeps and refuses; alone, in threads and when killed."""

import dataclasses
import errno
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, wait

import numpy as np
import pytest

from cbpnet.data.pixels import normalise
from cbpnet.host.errors import InputError
from cbpnet.host.random_streams import RandomStream
from cbpnet.method.capacity import grow
from cbpnet.run.state_file import load_state, save_state
from cbpnet.run.training import TaskImages, TrainingConfig, learn_task
from mobile.device.images import prepare_images
from mobile.device.lessons import Lesson
from mobile.device.program import Program
from mobile.device.runtime import OnDeviceLearner


@pytest.fixture
def learner(bundle):
    return OnDeviceLearner(bundle)


def content(path):
    """All that a state file holds, bit for bit, but how often it was saved."""
    state, info = load_state(path)
    progress = {name: value for name, value in info.progress.items() if name != "generation"}
    info = dataclasses.replace(info, progress=progress)
    return {name: value.tobytes() for name, value in state.items()}, info


def test_it_learns_new_classes_task_after_task_and_more_images_of_known_ones(learner, pictures):
    lessons = learner.learn({label: pictures(label, 9) for label in ("red", "green")}, epochs=8)
    assert lessons == [Lesson(task=1, new=("red", "green"), known=(), images=18)]
    lessons = learner.learn({"blue": pictures("blue", 9), "grey": pictures("grey", 8)}, epochs=8)
    assert lessons == [Lesson(task=2, new=("blue", "grey"), known=(), images=17)]
    more = {
        "grey": pictures("grey", 3, 1),
        "white": pictures("white", 4),
        "red": pictures("red", 2),
    }
    assert learner.learn(more, task=1) == [
        Lesson(task=1, new=("white",), known=("red",), images=6),
        Lesson(task=2, new=(), known=("grey",), images=3),
    ]
    assert learner.class_names == ("red", "green", "blue", "grey", "white")
    assert (learner.known_tasks, learner.lessons) == (2, 3)
    for label in ("red", "green", "blue"):
        found = learner.predict(pictures(label, 6, seed=2))
        assert sum(image.label == label for image in found) >= 5, label


def test_what_it_learns_is_what_training_in_pytorch_learns(learner, eager, pictures, tmp_path):
    learner.learn({label: pictures(label, 5) for label in ("red", "green")}, 2, 4, seed=3)
    learner.save(tmp_path / "state")
    state, info = load_state(tmp_path / "state")
    preprocessing = learner.manifest.preprocessing
    pixels = prepare_images(pictures("red", 5) + pictures("green", 5), preprocessing)
    query = eager.query(normalise(pixels, preprocessing.mean, preprocessing.std))
    images = TaskImages(pixels, np.array([0] * 5 + [1] * 5), query)
    expected = learn_task(
        eager,
        eager.initial_state(RandomStream(2, 0)),
        0,
        images,
        preprocessing,
        TrainingConfig(2, 4, 4),
        seed=3,
    )
    assert info.class_names == ("red", "green")
    for name, value in expected.items():
        np.testing.assert_allclose(state[name], value, rtol=1e-3, atol=1e-5, err_msg=name)


def test_a_prediction_ranks_the_known_classes(learner, eager, pictures):
    learner.learn({label: pictures(label, 5) for label in ("red", "green", "blue")})
    shown = pictures("green", 3, seed=1)
    counts = []
    found = learner.predict(shown, counts.append)
    assert sum(counts) == 3
    preprocessing = learner.manifest.preprocessing
    images = normalise(prepare_images(shown, preprocessing), (0.5,) * 3, (0.5,) * 3)
    assert learner.predict(images) == found
    state = learner._knowledge.state
    scores, task = eager.predict(state, images, eager.query(images))
    powers = np.exp(scores[:, :3])
    for prediction, row in zip(found, powers / powers.sum(axis=1, keepdims=True), strict=True):
        labels, shares = zip(*prediction.ranking, strict=True)
        falling = row.argsort()[::-1]
        assert list(labels) == [learner.class_names[i] for i in falling]
        np.testing.assert_allclose(shares, row[falling], rtol=1e-3, atol=1e-5)
        assert (prediction.label, prediction.probability) == prediction.ranking[0]
    assert [image.task for image in found] == [1 + int(row.argmax()) for row in task]


def test_each_image_counts_once_for_its_query_and_once_an_epoch(bundle, pictures, monkeypatch):
    queries, counts = [], []
    call = Program.call

    def counted(self, method, tensors):
        queries.append(method == "query")
        return call(self, method, tensors)

    monkeypatch.setattr(Program, "call", counted)
    learner = OnDeviceLearner(bundle)
    learner.learn({"red": pictures("red", 40)}, epochs=3, progress=counts.append)
    assert sum(counts) == 40 * (1 + 3)
    assert sum(queries) == 20  # two images at a time


def test_a_saved_state_goes_on_as_if_never_saved(learner, bundle, pictures, tmp_path):
    whole, path = OnDeviceLearner(bundle), tmp_path / "state"
    for label in ("red", "green", "blue"):
        whole.learn({label: pictures(label, 4)})
        part = OnDeviceLearner(bundle, path if path.exists() else None)
        part.learn({label: pictures(label, 4)})
        part.save(path)
    whole.save(tmp_path / "whole")
    assert content(path) == content(tmp_path / "whole")
    assert load_state(path)[1].progress == {"lessons": 3, "generation": 3}
    shown = pictures("green", 3, seed=1)
    assert OnDeviceLearner(str(bundle), str(path)).predict(shown) == whole.predict(shown)


def test_lessons_do_not_share_random_numbers_unless_asked(bundle, pictures, tmp_path):
    ends = []
    for seeds in ((None, None), (0, 1), (0, 0)):
        learner = OnDeviceLearner(bundle)
        for seed in seeds:
            learner.learn({"red": pictures("red", 7), "green": pictures("green", 7)}, seed=seed)
        learner.save(tmp_path / "state")
        ends.append(content(tmp_path / "state")[0])
    assert ends[0] == ends[1]
    assert ends[0] != ends[2]


def test_a_state_with_less_room_moves_in_and_others_are_refused(
    bundle, other_bundle, pictures, tmp_path, forge
):
    path = tmp_path / "state"
    learner = OnDeviceLearner(bundle)
    learner.learn({"red": pictures("red", 3)})
    learner.save(path)
    before = learner.predict(pictures("red", 2))
    state, info = load_state(path)

    with pytest.raises(InputError, match=r"state does not fit this bundle: .*made with weights '0"):
        OnDeviceLearner(other_bundle, path)
    for change, reason in (
        ({"weights": "a" * 16}, "made with weights 'aaaaaaaaaaaaaaaa'"),
        ({"backbone": "vit"}, "made with backbone 'vit', this learner has 'toy'"),
    ):
        save_state(path, state, dataclasses.replace(info, **change))
        with pytest.raises(InputError, match=reason):
            learner.resume(path)
    two = dataclasses.replace(info, class_names=("red", "blue"))
    forge(path, info=json.dumps(dataclasses.asdict(two)))
    with pytest.raises(InputError, match="knows 1 classes and names 2 of them"):
        learner.resume(path)
    assert learner.predict(pictures("red", 2)) == before

    small = dataclasses.replace(info, classes=2, tasks=1)
    cut = {name: state[name][: shape[0]] for name, shape in small.layout.items()}
    save_state(path, type(state)(small.layout, cut), small)
    moved = OnDeviceLearner(bundle, path)
    assert moved.predict(pictures("red", 2)) == before
    moved.learn({label: pictures(label, 3) for label in ("green", "blue", "grey", "white")})
    assert moved.known_tasks == 2

    large = dataclasses.replace(info, classes=9)
    save_state(path, grow(state, large.config, large.dim, large.classes, large.tasks), large)
    with pytest.raises(InputError, match="room for 9 classes, more than the 6 asked for"):
        OnDeviceLearner(bundle, path)


def test_what_cannot_be_learnt_changes_nothing(learner, pictures, tmp_path):
    with pytest.raises(InputError, match="no class is known yet; learn some first"):
        learner.predict(pictures("red", 1))
    learner.learn({"red": pictures("red", 3)})
    before = learner.predict(pictures("green", 2))
    (tmp_path / "x.jpg").write_text("a letter")
    broken = [*pictures("green", 40), tmp_path / "x.jpg"]
    spoilt = [*pictures("green", 40), np.full((3, 8, 8), np.nan, np.float32)]
    for images, options, reason in (
        ({}, {}, "there are no images"),
        ({"green": []}, {}, "class 'green' has no images"),
        ({"Red": pictures("red", 1)}, {}, "class 'Red' differs from the known class 'red'"),
        ({str(n): pictures("red", 1) for n in range(6)}, {}, "6 new classes do not fit, 5 of the"),
        ({"green": broken}, {}, r"x.jpg: cannot be read"),
        ({"green": spoilt}, {}, "image 41 holds NaN"),
        ({"green": pictures("green", 1)}, {"task": 2}, "task 2 is not one of the 1 known tasks"),
        ({"green": pictures("green", 1)}, {"epochs": 0}, "epochs is 0"),
    ):
        with pytest.raises(InputError, match=reason):
            learner.learn(images, **options)
    assert learner.class_names == ("red",)
    assert learner.predict(pictures("green", 2)) == before


def test_more_tasks_than_there_is_room_for(learner, pictures):
    for label in ("red", "green", "blue"):
        learner.learn({label: pictures(label, 2)})
    with pytest.raises(InputError, match=r"all 3 of the bundle are in use; .*task=N"):
        learner.learn({"grey": pictures("grey", 2)})
    assert learner.learn({"grey": pictures("grey", 2)}, task=3)[0].task == 3


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
def test_a_state_that_cannot_be_written_leaves_the_old_one(
    learner, pictures, tmp_path, monkeypatch, code
):
    path = tmp_path / "state"
    learner.learn({"red": pictures("red", 2)})
    learner.save(path)
    before = path.read_bytes()

    def fail(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)
    learner.learn({"green": pictures("green", 2)})
    with pytest.raises(
        InputError, match=f"^cannot write .*state: {os.strerror(code)}; name a file"
    ):
        learner.save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_learning_in_one_thread_while_others_predict(bundle, other_bundle, pictures):
    """Every answer is the one from before, another bundle's is its own; the next is from after."""
    learner, other = OnDeviceLearner(bundle), OnDeviceLearner(other_bundle)
    shown = pictures("grey", 2)
    for each in (learner, other):
        each.learn({"red": pictures("red", 4), "white": pictures("white", 4)})
    before, alone = learner.predict(shown), other.predict(shown)
    asked = []

    def ask(_):
        """Have others predict while the next batch is learnt, when they are done with the last."""
        wait(asked[-4:])
        asked.extend(threads.submit(each.predict, shown) for each in (learner, other) * 2)

    with ThreadPoolExecutor(4) as threads:
        learner.learn({"grey": pictures("grey", 8)}, epochs=10, progress=ask)
        wait(asked)
        after = threads.submit(learner.predict, shown).result()
    # What was asked last may have been answered when all was learnt.
    assert all(future.result() == before for future in asked[:-4:2])
    assert all(future.result() in (before, after) for future in asked[-4::2])
    assert all(future.result() == alone for future in asked[1::2])
    assert len(asked) > 40
    assert before != after
    again = OnDeviceLearner(bundle)
    again.learn({"red": pictures("red", 4), "white": pictures("white", 4)})
    again.learn({"grey": pictures("grey", 8)}, epochs=10)
    assert again.predict(shown) == after


KILLS = """
import os, signal, sys
from contextlib import suppress
from itertools import count
from pathlib import Path
import numpy as np
with suppress(ImportError):  # once for all processes
    import executorch.extension.pybindings._portable_lib
from cbpnet.run import state_file
from mobile.device.runtime import OnDeviceLearner

bundle, state, folder = map(Path, sys.argv[1:])
pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 9, 9, 3)).astype(np.uint8)
images = {"red": list(pixels[0]), "green": list(pixels[1])}
write = state_file.write_atomically


# What changes files; before and after each is a moment, and no others differ on the disc.
CALLS = {"open", "write", "flush", "fsync", "fchmod", "flock", "link", "replace", "unlink"}


def counted(event, called, count_down):
    if event in ("c_call", "c_return") and called.__name__ in CALLS:
        count_down()


def learn_and_save(path, moment):
    def count_down(*_):
        nonlocal moment
        moment -= 1
        if not moment:
            os.kill(os.getpid(), signal.SIGKILL)

    def watched_write(*arguments):
        sys.setprofile(lambda _, event, called: counted(event, called, count_down))
        write(*arguments)
        sys.setprofile(None)

    state_file.write_atomically = watched_write
    learner = OnDeviceLearner(bundle, path)
    learner.learn(images, epochs=2, batch_size=3, progress=count_down)
    learner.save(path)


for moment in count(1):
    path = folder / str(moment)
    path.write_bytes(state.read_bytes())
    child = os.fork()
    if not child:
        try:
            learn_and_save(path, moment)
            os._exit(0)
        finally:
            os._exit(1)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code != -signal.SIGKILL:
        sys.exit(code)  # it came to its end
"""


def test_killed_at_any_moment_the_state_is_the_last_or_the_one_before(
    learner, bundle, pictures, tmp_path
):
    """Processes learn a lesson and write it, each killed one step later than the one before."""
    before, folder = tmp_path / "before", tmp_path / "killed"
    folder.mkdir()
    learner.learn({label: pictures(label, 3) for label in ("red", "green")})
    learner.save(before)
    command = [sys.executable, "-c", KILLS, str(bundle), str(before), str(folder)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    moments = sum(path.name.isdigit() for path in folder.iterdir())
    found = [content(folder / str(1 + n)) for n in range(moments)]
    first, last = content(before), found[-1]
    assert last[1].progress == {"lessons": 2}
    renewed = found.index(last)
    assert found == [first] * renewed + [last] * (len(found) - renewed)
    assert renewed > 20


DEVICE = ("timm", "torchao", "torchvision", "matplotlib", "sklearn", "executorch.exir", "quantize")


def test_the_runtime_imports_nothing_that_a_device_lacks():
    code = (
        "import sys, mobile.device.runtime; from mobile.device.program import get_threads;"
        f"get_threads(); print([name for name in {DEVICE} if name in sys.modules])"
    )
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == "[]\n"
