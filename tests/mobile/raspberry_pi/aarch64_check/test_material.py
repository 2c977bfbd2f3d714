"""What a session starts from, but for the export, which has tests of its own."""

import numpy as np
import pytest

pytest.importorskip("torch")

from PIL import Image

from cbpnet.data.digits import load_digits
from mobile.raspberry_pi.aarch64_check import material


def test_pictures_of_digits_in_lessons_and_for_test(tmp_path):
    material.make_pictures(tmp_path)
    found = {
        part.relative_to(tmp_path).as_posix(): sorted(label.name for label in part.iterdir())
        for part in [*(tmp_path / "lessons").iterdir(), tmp_path / "test"]
    }
    assert found == {
        "lessons/0": ["4", "5"],
        "lessons/1": ["6", "7"],
        "lessons/2": ["4", "8", "9"],
        "test": [str(digit) for digit in range(10)],
    }
    digits = load_digits()
    for part, source in (("lessons", digits.train), ("test", digits.test)):
        pictures = sorted((tmp_path / part).rglob("*.png"))
        names = [path.name for path in pictures]
        assert len(names) == len(set(names)) == (70 if part == "lessons" else 60)
        for path in pictures:
            index = int(path.stem)
            assert str(source.labels[index]) == path.parent.name
            assert np.array_equal(np.asarray(Image.open(path)), np.asarray(source.image(index)))


def test_bundles_know_some_digits_and_replace_units(tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(material, "_PRETRAINING_EPOCHS", 1)
    monkeypatch.setattr(material, "export_bundle", lambda *arguments: made.append(arguments))
    material.make_bundles(tmp_path)
    assert [path.name for path, *_ in made] == ["fp32.pte", "int8.pte"]
    for path, backbone, config, state, settings in made:
        assert settings.target.precision == path.stem
        assert settings.class_names == ("0", "1", "2", "3")
        assert backbone.name == "vit_micro_patch8_32"
        assert state["classes.task"].tolist() == [0.0] * 4 + [-1.0] * 6
        assert state["classes.count"].tolist() == [10.0] * 4 + [0.0] * 6
        assert config.cbp.max_replacements(config.block.hidden) == 1
        # A lesson has 20 images or more, and so 6 steps in 3 epochs.
        assert config.cbp.maturity < 6
        assert state["tasks.known"].tolist() == [1, 0, 0, 0]
