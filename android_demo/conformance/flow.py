"""The Python side of a day with the app: photographs before it, and a second opinion after it.

    python android_demo/conformance/flow.py prepare FOLDER BUNDLE [--cifar100 PATH]
    python android_demo/conformance/flow.py compare FOLDER

`prepare` writes photographs of four classes that the bundle does not know, and what the Python
host learnt of a fifth, in `python.safetensors`. They are CIFAR-100's, or scikit-learn's digits from
5 on: the bundle of `cbpnet-mobile demo` knows those below. `FlowTest.kt` then plays the app, and
writes its state and, for each state, its answers. `compare` has `cbpnet-mobile predict` answer too.
"""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from cbpnet.data.catalogue import load_dataset
from cbpnet.data.images import ImageSource

DIGITS = ("5", "6", "7", "8", "9")
CIFAR_CLASSES = ("cup", "keyboard", "orange", "bicycle", "telephone")
TRAIN, TEST = 20, 25
STATES = ("kotlin", "python")


def prepare(out: Path, bundle: Path, cifar100: Path | None) -> None:
    """Write what the app is taught from, and a state of the Python host."""
    out.mkdir(parents=True, exist_ok=True)
    shutil.copy(bundle, out / "bundle.pte")
    dataset = load_dataset("digits" if cifar100 is None else "cifar100", cifar100)
    names = DIGITS if cifar100 is None else CIFAR_CLASSES
    for name in names:
        folder = "another" if name == names[-1] else "photographs"
        _save(dataset.train, dataset.class_names.index(name), TRAIN, out / folder / name)
    for name in dataset.class_names if cifar100 is None else names:
        _save(dataset.test, dataset.class_names.index(name), TEST, out / "test" / name)
    _run("learn", out, "--images", str(out / "another"), "--out", str(out / "python.safetensors"))


def compare(out: Path) -> None:
    """Compare the app's answers with those of `cbpnet-mobile predict` on the same states."""
    for state in STATES:
        answers = json.loads((out / f"{state}_answers.json").read_text())
        images = [str(out / "test" / name) for name in answers]
        shares = ["--state", str(out / f"{state}.safetensors"), "--top", "100", "--json"]
        rows = [json.loads(line) for line in _run("predict", out, *images, *shares).splitlines()]
        furthest, same = 0.0, 0
        for expected, row in zip(answers.values(), rows, strict=True):
            found = {c["label"]: c["probability"] for c in row["classes"]}
            same += next(iter(found)) == next(iter(expected))
            furthest = max(furthest, *(abs(found[name] - p) for name, p in expected.items()))
        print(
            f"{state}.safetensors: cbpnet-mobile predict and the app name the same class for "
            f"{same} of {len(rows)} photographs, probabilities at most {furthest:.1e} apart"
        )
        if same != len(rows) or furthest > 1e-3:
            sys.exit("error: the two hosts differ")


def _save(source: ImageSource, label: int, count: int, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for index in np.flatnonzero(source.labels == label)[:count].tolist():
        image = source.image(index)
        larger = image.resize((96, 96), Image.Resampling.BICUBIC)
        larger.save(folder / f"{index}.png")


def _run(command: str, out: Path, *arguments: str) -> str:
    main = ["-c", "from mobile.cli import main; main()", command, str(out / "bundle.pte")]
    return subprocess.run(
        [sys.executable, *main, *arguments], check=True, stdout=subprocess.PIPE, text=True
    ).stdout


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(dest="command", required=True)
    preparing = commands.add_parser("prepare")
    preparing.add_argument("folder", type=Path)
    preparing.add_argument("bundle", type=Path)
    preparing.add_argument("--cifar100", type=Path)
    commands.add_parser("compare").add_argument("folder", type=Path)
    given = parser.parse_args()
    if given.command == "prepare":
        prepare(given.folder, given.bundle, given.cifar100)
    else:
        compare(given.folder)
