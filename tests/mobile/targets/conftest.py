"""What the tests of targets share: one-pass bundles, pictures to calibrate on, and a lesson."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cbpnet.backbone.vit import Backbone
from cbpnet.host.arrays import Array
from cbpnet.host.random_streams import RandomStream
from cbpnet.method.config import LearnerConfig, PromptConfig
from cbpnet.method.eager import EagerOnePass
from cbpnet.method.initial import draw_state
from cbpnet.method.learner_interface import OnePassInterface
from cbpnet.method.one_pass import OnePassLearner
from cbpnet.method.state import HostState
from cbpnet.run.lesson import learn_lesson
from cbpnet.run.training import LessonImages, TrainingConfig
from mobile.export.calibration import read_calibration_images
from mobile.export.exporter import Export, ExportSettings, export_bundle
from mobile.targets import ResolvedTarget
from quantize.trunk import FrozenTrunk

from ..toy_bundles import ONE_PASS_CONFIG

CLASSES = 6


@pytest.fixture(scope="session")
def photos(pictures: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of class folders with pictures to calibrate on."""
    root = tmp_path_factory.mktemp("photos")
    for colour in ("red", "green", "blue"):
        (root / colour).mkdir()
        for number, pixels in enumerate(pictures(colour, 4)):
            Image.fromarray(pixels).resize((16, 16)).save(root / colour / f"{number}.png")
    return root


@pytest.fixture(scope="session")
def config() -> LearnerConfig:
    """A one-pass learner's settings, for a small backbone: the classifier is asked."""
    return replace(
        ONE_PASS_CONFIG,
        prompts=PromptConfig((0, 1), 2, (), 1),
        features=("pooled", "patches"),
    )


@pytest.fixture(scope="session")
def trunk(small_backbone: Backbone, config: LearnerConfig) -> FrozenTrunk:
    """The small backbone's trunk in fp32, with what a bundle of these settings computes."""
    return FrozenTrunk(small_backbone, "fp32", features=(*config.features, "logits1000"))


@pytest.fixture(scope="session")
def export_for(
    small_backbone: Backbone,
    config: LearnerConfig,
    photos: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[ResolvedTarget], Export]:
    """Export a bundle of the small backbone for a target."""

    def export(target: ResolvedTarget) -> Export:
        state = draw_state(config, small_backbone.dim, CLASSES, 1, RandomStream(2, 0))
        settings = ExportSettings(target, CLASSES, tasks=1, micro_batch=2)
        images = read_calibration_images(photos) if target.calibrated else []
        path = tmp_path_factory.mktemp(target.name) / "bundle.pte"
        return export_bundle(path, small_backbone, config, state, settings, calibration=images)

    return export


@pytest.fixture(scope="session")
def exact(small_backbone: Backbone, config: LearnerConfig) -> EagerOnePass:
    """The learner in PyTorch, in fp32."""
    return EagerOnePass(OnePassLearner(small_backbone, config, CLASSES))


def _shown(classes: Sequence[int], each: int, seed: int) -> LessonImages:
    """Images of 16 pixels: each class has a picture of its own, with noise on it."""
    pictures = RandomStream(9, 0).uniform(CLASSES, 16, 16, 3)
    labels = np.repeat(classes, each)
    noise = RandomStream(seed, 0).normal(len(labels), 16, 16, 3)
    pixels = 255 * (pictures[labels] + 0.2 * noise).clip(0, 1)
    return LessonImages(pixels.astype(np.uint8), labels)


@pytest.fixture(scope="session")
def taught(
    small_backbone: Backbone,
) -> Callable[[OnePassInterface, HostState], tuple[Array, Array]]:
    """Teach a learner two lessons; return features of other images, and its scores of them."""
    preprocessing = small_backbone.preprocessing
    training = TrainingConfig(epochs=2, batch_size=4, micro_batch=4, final_rate=0.1)

    def teach(learner: OnePassInterface, state: HostState) -> tuple[Array, Array]:
        for seed, classes in enumerate(([0, 1, 2], [3, 4])):
            lesson = _shown(classes, 6, seed)
            state = learn_lesson(learner, state, lesson, preprocessing, training, 1).state
        assert state["lessons.adapted"] >= 1
        shown = _shown([0, 1, 2, 3, 4], 4, seed=7)
        images = shown.batch(np.arange(len(shown.labels)), preprocessing)
        x = learner.features(state, images)
        return x, learner.predict(state, x)[0][:, :5]

    return teach
