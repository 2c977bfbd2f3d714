"""The README's commands and lines of Python for a device, word for word, in an empty folder.

tests/packaging/wheel_test.sh runs it on a wheel; CBPNET_BUNDLES names a folder with a bundle.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

README = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")
ON_A_DEVICE = (
    "learn|predict|history|relabel|rename|forget|undo|redo|merge|evaluate|inspect|move|watch"
    "|bench|latency"
)
COMMANDS = re.findall(rf"^\$ (cbpnet-mobile (?:{ON_A_DEVICE}) .*)$", README, re.MULTILINE)
PROGRAMS = [
    block
    for block in re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    if "OnDeviceLearner" in block
]
COLOURS = {"leopard": (220, 160, 40), "rabbit": (90, 90, 90), "wolf": (40, 60, 200)}
# What the README's lines of Python find.
GIVEN = """\
rex_photos = [f"photos/leopard/{number:02}.png" for number in range(12)]
tom_photos = [f"photos/wolf/{number:02}.png" for number in range(12)]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the bundle and the pictures that the README speaks of, and nothing else."""
    folder = tmp_path_factory.mktemp("empty")
    shutil.copy(Path(os.environ["CBPNET_BUNDLES"], "int8_one_pass.pte"), folder / "pets.pte")
    generator = np.random.default_rng(0)
    for name, colour in COLOURS.items():
        (folder / "photos" / name).mkdir(parents=True)
        noise = generator.integers(-30, 31, (13, 48, 64, 3))
        pixels = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
        for number, picture in enumerate(pixels[:12]):
            Image.fromarray(picture).save(folder / "photos" / name / f"{number:02}.png")
        Image.fromarray(pixels[12]).save(folder / f"{name}.png")
    shutil.copy(folder / "wolf.png", folder / "who.jpg")
    return folder


def run(folder: Path, command: list[str] | str) -> str:
    """Run a command in a folder, with the environment's programs first; return what it printed."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    result = subprocess.run(
        command,
        shell=isinstance(command, str),
        cwd=folder,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_the_commands_one_after_the_other(folder: Path) -> None:
    verbs = [command.split()[1] for command in COMMANDS]
    assert {"learn", "predict", "relabel", "forget", "undo"} <= set(verbs)
    printed = dict(zip(verbs, [run(folder, command) for command in COMMANDS], strict=True))
    assert "wrote pets.safetensors: 3 of 6 classes" in printed["learn"]
    assert printed["predict"].startswith("leopard.png: leopard ")
    assert printed["relabel"].startswith("made 1 picture leopard\n")


def test_the_lines_of_python(folder: Path) -> None:
    (program,) = PROGRAMS
    label = 'learner.predict("who.jpg")[0].label'
    assert f"\n{label}\n" in program
    printing = program.replace(label, f"print({label})")
    assert run(folder, [sys.executable, "-c", GIVEN + printing]) == "tom\n"
