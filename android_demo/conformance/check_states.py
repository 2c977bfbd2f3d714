"""Check that `cbpnet-mobile predict` reads the Kotlin host's states and says what that host said.

    python android_demo/conformance/check_states.py FOLDER

FOLDER is what write_vectors.py wrote, after the Kotlin tests have run on it.
"""

import json
import sys
from pathlib import Path

from click.testing import CliRunner

from mobile.cli import main as cbpnet_mobile

TOLERANCE = 1e-3  # of a probability


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


if __name__ == "__main__":
    for bundle in sorted(Path(sys.argv[1]).glob("*/bundle.pte")):
        folder = bundle.parent
        for name in ("taught", "forgetful"):
            count = check(folder, name)
            print(f"{folder.name}, {name}: Python reads Kotlin's state, {count} answers alike")
