"""Check that the Python host reads the Kotlin host's states and says what that host said.

    python android_demo/conformance/check_states.py FOLDER

FOLDER is what write_vectors.py wrote, after the Kotlin tests have run on it. Of a learner in one
pass everything in the journal is undone too, and done again: it has to come to the same.
"""

import json
import sys
from pathlib import Path

import numpy as np
from click.testing import CliRunner

from cbpnet.run.state_file import load_state
from mobile.cli import main as cbpnet_mobile
from mobile.device.runtime import OnDeviceLearner

TOLERANCE = 1e-3  # of a probability, and of a tensor's largest number


def check(folder: Path, name: str) -> int:
    """Return how many photographs were classified alike; stop with a sentence at any other."""
    answers = json.loads((folder / f"{name}.json").read_text())["answers"]
    pictures = [str(folder / answer["picture"]) for answer in answers]
    state = str(folder / f"{name}.safetensors")
    arguments = ["predict", str(folder / "bundle.pte"), *pictures, "--state", state, "--json"]
    result = CliRunner().invoke(cbpnet_mobile, arguments)
    if result.exit_code != 0:
        sys.exit(f"{state} was refused: {result.output}")
    rows = map(json.loads, result.stdout.splitlines())
    for answer, row in zip(answers, rows, strict=True):
        best = row["classes"][0]
        apart = abs(best["probability"] - answer["probability"])
        if best["label"] != answer["label"] or apart > TOLERANCE:
            sys.exit(f"{answer['picture']}: the Kotlin host says {answer}, Python {best}")
    return len(answers)


def undo_and_redo(folder: Path, name: str) -> int:
    """Return how many events were undone and done again; stop with a sentence at another state."""
    path, again = folder / f"{name}.safetensors", folder / f"{name}_again.safetensors"
    host = OnDeviceLearner(folder / "bundle.pte", path)
    if host.journal is None:
        return 0
    events = host.journal.head - host.journal.settled
    for _ in range(events):
        host.undo()
    if host.class_names:
        sys.exit(f"{path}: all was undone, and {host.class_names} are known")
    for _ in range(events):
        host.redo()
    host.save(again)
    (expected, info), (found, other) = load_state(path), load_state(again)
    if info.class_names != other.class_names:
        sys.exit(
            f"{path} knows {info.class_names}, and the fold of its journal {other.class_names}"
        )
    for tensor, value in expected.items():
        apart = np.abs(found[tensor] - value).max()
        if apart > TOLERANCE * np.abs(value).max():
            sys.exit(f"{path}: {tensor} is {apart} apart from the fold of the journal")
    return events


if __name__ == "__main__":
    for bundle in sorted(Path(sys.argv[1]).glob("*/bundle.pte")):
        folder = bundle.parent
        for name in ("taught", "corrected"):
            count, events = check(folder, name), undo_and_redo(folder, name)
            print(
                f"{folder.name}, {name}: Python reads Kotlin's state, {count} answers alike; "
                f"{events} events undone and done again"
            )
