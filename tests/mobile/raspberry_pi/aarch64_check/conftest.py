"""Courses with small bundles, and what sessions that nobody disturbed learnt from them."""

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from mobile.raspberry_pi.aarch64_check.session import ANSWERS, LESSONS, STATE, run_session

COLOURS = {"ant": "red", "bee": "green", "cat": "blue", "dog": "grey"}
TAUGHT = (("ant", "bee"), ("cat",), ("ant", "dog"))
PICTURES = 4


# The steps of the last lesson: a one-pass learner does not adapt to it.
STEPS = {"bundle": 6, "one_pass_bundle": 0}


@pytest.fixture(scope="session", params=STEPS)
def course(request, pictures, tmp_path_factory) -> Path:
    """The folder of a course as the conformance suite has them, of each kind of bundle."""
    folder = tmp_path_factory.mktemp("course")
    shutil.copy(request.getfixturevalue(request.param), folder / "bundle.pte")
    lessons = [
        {"pictures": {}, "joined_task": None, "steps": STEPS[request.param], "predictions": []}
        for _ in TAUGHT
    ]
    for number, labels in enumerate(TAUGHT):
        for label in labels:
            names = [f"{label}_{number}_{picture}.png" for picture in range(PICTURES)]
            lessons[number]["pictures"][label] = names
            lessons[-1]["predictions"] += [{"picture": name} for name in names]
            for name, picture in zip(
                names, pictures(COLOURS[label], PICTURES, number), strict=True
            ):
                Image.fromarray(picture).save(folder / name)
    content = {"epochs": 30, "batch_size": 3, "lessons": lessons}  # for a fault to go far
    (folder / LESSONS).write_text(json.dumps(content))
    out = tmp_path_factory.mktemp("undisturbed")
    run_session(folder, out)
    answers = json.loads((out / ANSWERS).read_text())
    for prediction in lessons[-1]["predictions"]:
        prediction["ranking"] = list(answers[prediction["picture"]].items())
    (folder / LESSONS).write_text(json.dumps(content))
    shutil.copy(out / STATE, folder / f"state_{len(TAUGHT) - 1}.safetensors")
    return folder


@pytest.fixture
def learnt(course, tmp_path) -> Path:
    """What a session wrote that differs in nothing from what is written down, to be changed."""
    lessons = json.loads((course / LESSONS).read_text())["lessons"]
    out = tmp_path / "learnt"
    out.mkdir()
    shutil.copy(course / f"state_{len(TAUGHT) - 1}.safetensors", out / STATE)
    answers = {answer["picture"]: dict(answer["ranking"]) for answer in lessons[-1]["predictions"]}
    (out / ANSWERS).write_text(json.dumps(answers))
    return out
