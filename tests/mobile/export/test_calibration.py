"""The quantisation report of an export, on pictures of a folder."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cbpnet.backbone.vit import Backbone
from cbpnet.host.errors import InputError
from cbpnet.method.config import (
    AdaptationConfig,
    BlockConfig,
    LearnerConfig,
    PromptConfig,
    ReadoutConfig,
)
from mobile.export.bundle_learner import make_learner
from mobile.export.calibration import (
    calibration_passes,
    read_report_images,
    report_quantisation,
)
from quantize.frozen_linear import Precision
from quantize.trunk import FrozenTrunk

CONFIG = LearnerConfig(PromptConfig((0,), 2, (1,), 2), BlockConfig(4), readout=ReadoutConfig("rls"))
ONE_PASS = LearnerConfig(
    PromptConfig((0, 1), 2, ()),
    readout=ReadoutConfig("whitened"),
    adaptation=AdaptationConfig("auto"),
    features=("pooled", "patches"),
)
NEVER = replace(ONE_PASS, prompts=PromptConfig((), 2, ()), adaptation=AdaptationConfig("never"))


@pytest.fixture
def photos(tmp_path: Path, pictures: Callable[..., list[Any]]) -> Path:
    for colour in ("red", "green", "blue"):
        (tmp_path / colour).mkdir()
        for number, picture in enumerate(pictures(colour, 5)):
            Image.fromarray(picture).save(tmp_path / colour / f"{number}.png")
    return tmp_path


def report_of(
    backbone: Backbone, precision: Precision, photos: Path, config: LearnerConfig = CONFIG
):
    trunk = FrozenTrunk(backbone, precision, features=config.features)
    images = read_report_images(photos, 4)
    return report_quantisation(backbone, make_learner(trunk, None, config, 4, 2), images)


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


@pytest.mark.parametrize("config", [ONE_PASS, NEVER])
def test_in_fp32_a_one_pass_learner_loses_nothing(
    small_backbone: Backbone, photos: Path, config: LearnerConfig
) -> None:
    report = report_of(small_backbone, "fp32", photos, config)
    assert report.images == 15
    assert report.top1_agreement == 1.0
    assert report.features.cosine == pytest.approx(1, abs=1e-6)
    trained = {"prompts.g", "head.weight"} if config is ONE_PASS else set()
    assert report.gradients.keys() == trained
    for name, found in report.gradients.items():
        assert found.least == pytest.approx(1, abs=1e-3), name


def test_in_int8_a_one_pass_learner_loses_a_little(small_backbone: Backbone, photos: Path) -> None:
    report = report_of(small_backbone, "int8", photos, ONE_PASS)
    assert 0.99 < report.features.cosine < 1 - 1e-7
    assert report.top1_agreement is not None
    assert report.top1_agreement >= 14 / 15
    assert 0.8 < report.gradients["prompts.g"].least < 1 - 1e-7


def test_calibration_goes_with_the_prompts_that_predictions_have() -> None:
    none, drawn = calibration_passes(CONFIG, 32)
    assert none is None
    assert {layer: part.shape for layer, part in drawn.items()} == {
        0: (1, 2, 2, 32),
        1: (1, 2, 2, 32),
    }
    drawn, zero = calibration_passes(ONE_PASS, 32)
    assert drawn.keys() == zero.keys() == {0, 1}
    assert all(part.any() for part in drawn.values())
    assert not any(part.any() for part in zero.values())
    assert calibration_passes(NEVER, 32) == [None]


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
