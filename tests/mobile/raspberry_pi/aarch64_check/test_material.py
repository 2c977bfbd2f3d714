"""What boards are given, with programs that are not run."""

import subprocess
from pathlib import Path

import pytest
from PIL import Image

from mobile.raspberry_pi.aarch64_check import material
from mobile.raspberry_pi.aarch64_check.material import (
    MaterialError,
    export_vit_tiny,
    get_vectors,
    make_lesson,
)


@pytest.fixture
def asked(monkeypatch):
    """The commands, which do nothing and end with the status that stands first."""
    asked = [0]

    def run(command, **options):
        asked.append([str(word) for word in command])
        return subprocess.CompletedProcess(command, asked[0], "", "cannot")

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.delenv("CBPNET_VECTORS", raising=False)
    return asked


def test_vectors_are_written_unless_they_are_there(asked, tmp_path, monkeypatch):
    assert get_vectors(tmp_path / "new") == tmp_path / "new"
    (_, (*_, script, folder)) = asked
    assert Path(script).is_file()
    assert folder == str(tmp_path / "new")
    monkeypatch.setenv("CBPNET_VECTORS", str(tmp_path / "old"))
    assert get_vectors(tmp_path / "new") == tmp_path / "old"
    assert len(asked) == 2


def test_what_cannot_be_written(asked, tmp_path):
    asked[0] = 1
    with pytest.raises(MaterialError, match=r"^cannot$"):
        get_vectors(tmp_path)


def test_a_vit_tiny_is_exported_where_its_weights_are(asked, tmp_path, monkeypatch):
    monkeypatch.setenv("CBPNET_SHARED", str(tmp_path))
    assert not export_vit_tiny(tmp_path / "x.pte")
    assert len(asked) == 1
    weights = tmp_path / "weights" / "vit_tiny_patch16_224.safetensors"
    weights.parent.mkdir()
    weights.touch()
    assert export_vit_tiny(tmp_path / "x.pte")
    assert asked[1][-6:] == [
        *("-m", "mobile", "export", "--target=xnnpack"),
        *(f"--weights={weights}", f"--out={tmp_path / 'x.pte'}"),
    ]


def test_a_lesson_is_two_classes_of_one_photograph(tmp_path):
    for label in ("flower", "leaf", "temple"):
        for number in range(3):
            Image.new("RGB", (8, 8)).save(tmp_path / f"{label}_{number}.png")
    make_lesson(tmp_path, tmp_path / "lesson")
    found = sorted(path.relative_to(tmp_path / "lesson") for path in tmp_path.glob("lesson/*/*"))
    assert [str(path) for path in found] == ["flower/flower_0.png", "temple/temple_0.png"]
    assert material.CHECKOUT.joinpath("pyproject.toml").exists()
