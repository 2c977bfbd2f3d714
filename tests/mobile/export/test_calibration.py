"""The quantisation report of an export, on pictures of a folder."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cbpnet.backbone.vit import Backbone
from cbpnet.host.errors import InputError
from cbpnet.method.config import BlockConfig, LearnerConfig, PromptConfig, ReadoutConfig
from cbpnet.method.learner import Learner
from mobile.export.calibration import read_report_images, report_quantisation
from quantize.frozen_linear import Precision
from quantize.trunk import FrozenTrunk

CONFIG = LearnerConfig(PromptConfig((0,), 2, (1,), 2), BlockConfig(4), readout=ReadoutConfig("rls"))


@pytest.fixture
def photos(tmp_path: Path, pictures: Callable[..., list[Any]]) -> Path:
    for colour in ("red", "green", "blue"):
        (tmp_path / colour).mkdir()
        for number, picture in enumerate(pictures(colour, 5)):
            Image.fromarray(picture).save(tmp_path / colour / f"{number}.png")
    return tmp_path


def report_of(backbone: Backbone, precision: Precision, photos: Path):
    trunk = FrozenTrunk(backbone, precision)
    images = read_report_images(photos, 4)
    return report_quantisation(backbone, Learner(trunk, CONFIG, 4, 2), images)


def test_in_fp32_nothing_is_lost(small_backbone: Backbone, photos: Path) -> None:
    report = report_of(small_backbone, "fp32", photos)
    assert report.images == report.gradient_images == 15
    assert report.top1_agreement == 1.0
    assert report.query.cosine == pytest.approx(1, abs=1e-6)
    assert {"prompts.g", "prompts.e", "prompts.key", "block.w_in", "head.weight"} <= set(
        report.gradients
    )
    for name, found in report.gradients.items():
        assert found.least == pytest.approx(1, abs=1e-3), name


def test_in_int8_a_little_is_lost(small_backbone: Backbone, photos: Path) -> None:
    report = report_of(small_backbone, "int8", photos)
    assert 0.99 < report.query.cosine < 1 - 1e-7
    assert report.query.sqnr_db is not None
    assert 15 < report.query.sqnr_db < 80
    assert 0.8 < report.gradients["prompts.g"].least < 1 - 1e-7


def test_a_folder_that_does_not_fit(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has 3 classes of images; a report needs 2 to 2"):
        read_report_images(photos, 2)
    (tmp_path / "one" / "cat").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "one" / "cat" / "a.png")
    with pytest.raises(InputError, match="has 1 classes of images"):
        read_report_images(tmp_path / "one", 9)


def test_many_images_of_a_class_are_cut_to_a_share(photos: Path) -> None:
    for number in range(5, 80):
        Image.new("RGB", (8, 8)).save(photos / "red" / f"{number}.png")
    found = read_report_images(photos, 4)
    assert sorted(len(paths) for paths in found) == [5, 5, 66]
