"""Bundles as a PC makes them, and the learners in PyTorch that they were made of."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from safetensors.torch import save_file

import cbpnet.backbone.micro_vit  # noqa: F401  makes its name known to timm
from cbpnet.backbone.torchvision_compat import import_timm
from cbpnet.backbone.vit import Backbone
from cbpnet.host.random_streams import RandomStream
from cbpnet.method.capacity import grow
from cbpnet.method.config import PromptConfig
from cbpnet.method.eager import EagerLearner, EagerOnePass
from cbpnet.method.initial import draw_state
from cbpnet.method.learner import Learner
from cbpnet.method.one_pass import OnePassLearner
from cbpnet.method.state import HostState
from cbpnet.run.state_file import save_state
from cbpnet.run.state_info import StateInfo
from cbpnet.run.training import TaskImages, TrainingConfig, learn_task
from mobile.cli import export_job, main
from mobile.export.exporter import Export, ExportSettings, export_bundle
from mobile.targets import resolve_target

from .made_once import MadeOnce
from .toy_bundles import (
    ONE_PASS_CONFIG,
    TOY_CONFIG,
    build_toy,
    toy_learner,
    toy_one_pass_learner,
)


@pytest.fixture(scope="session")
def eager() -> EagerLearner:
    """The learner in PyTorch that `bundle` was made of, on arrays."""
    return EagerLearner(toy_learner())


def _toy(
    learner: Learner | OnePassLearner, seed: int = 2, weights: str = "0123456789abcdef"
) -> Callable[[Path], object]:
    """Return what makes the bundle of a learner that knows nothing."""
    state = learner.initial_state(RandomStream(seed, 0))
    return lambda path: build_toy(path, learner, state, (), weights)


@pytest.fixture(scope="session")
def bundle(made_once: MadeOnce) -> Path:
    """A bundle with room for six classes in three tasks, which knows none."""
    return made_once("toy.pte", _toy(toy_learner()))


@pytest.fixture(scope="session")
def other_bundle(made_once: MadeOnce) -> Path:
    """A bundle of another backbone and capacity: four classes in two tasks."""
    return made_once("other.pte", _toy(toy_learner(dim=9, classes=4, tasks=2), 3, "f" * 16))


@pytest.fixture(scope="session")
def one_pass_eager() -> EagerOnePass:
    """The learner in PyTorch that `one_pass_bundle` was made of, on arrays."""
    return EagerOnePass(toy_one_pass_learner())


@pytest.fixture(scope="session")
def one_pass_bundle(made_once: MadeOnce) -> Path:
    """A bundle of the one-pass learner with room for six classes, which knows none."""
    return made_once("one_pass.pte", _toy(toy_one_pass_learner()))


@pytest.fixture(scope="session")
def small_backbone() -> Backbone:
    """A vision transformer of two layers for images of 16 pixels, with random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        vit = import_timm().create_model(
            "vit_micro_patch8_32", depth=2, embed_dim=32, num_heads=2, img_size=16
        )
    return Backbone("vit_micro_patch8_32", vit)


@pytest.fixture(scope="session")
def int8_bundle(small_backbone: Backbone, made_once: MadeOnce) -> Path:
    """The real thing, small: `small_backbone` in int8 for XNNPACK, six classes in three tasks."""
    config = replace(TOY_CONFIG, prompts=PromptConfig((0,), 2, (1,), 2))
    state = draw_state(config, small_backbone.dim, 6, 3, RandomStream(2, 0))
    settings = ExportSettings(resolve_target("xnnpack", "int8"), classes=6, tasks=3, micro_batch=2)
    return made_once(
        "int8.pte", lambda path: export_bundle(path, small_backbone, config, state, settings)
    )


@pytest.fixture(scope="session")
def int8_one_pass(small_backbone: Backbone, made_once: MadeOnce) -> Path:
    """The same for the one-pass learner, which counts two features and asks the classifier."""
    config = replace(
        ONE_PASS_CONFIG,
        prompts=PromptConfig((0, 1), 2, (), 1),
        features=("pooled", "patches"),
    )
    state = draw_state(config, small_backbone.dim, 6, 1, RandomStream(2, 0))
    settings = ExportSettings(resolve_target("xnnpack", "int8"), classes=6, tasks=1, micro_batch=2)
    return made_once(
        "int8_one_pass.pte",
        lambda path: export_bundle(path, small_backbone, config, state, settings),
    )


@dataclass(frozen=True)
class Server:
    """What a server learnt in PyTorch: a file, and its state before and after it was grown."""

    path: Path
    info: StateInfo
    learner: EagerLearner
    state: HostState
    grown: HostState


@pytest.fixture(scope="session")
def server(small_backbone: Backbone, tmp_path_factory: pytest.TempPathFactory) -> Server:
    """Three classes in one task, with room for four in two; a unit is replaced every few steps."""
    config = replace(TOY_CONFIG, prompts=PromptConfig((0,), 2, (1,), 2))
    learner, stream = EagerLearner(Learner(small_backbone, config, 4, 2)), RandomStream(4, 0)
    labels = np.arange(15) % 3
    pixels = stream.normal(15, 3, 16, 16) + labels.reshape(-1, 1, 1, 1).astype(np.float32) - 1
    state = learn_task(
        learner,
        learner.initial_state(stream),
        0,
        TaskImages(pixels, labels, learner.query(pixels)),
        small_backbone.preprocessing,
        TrainingConfig(epochs=3, batch_size=5, micro_batch=5),
        seed=0,
    )
    info = StateInfo(
        backbone=small_backbone.name,
        weights=small_backbone.weights_fingerprint,
        dim=small_backbone.dim,
        preprocessing=small_backbone.preprocessing,
        config=config,
        classes=4,
        tasks=2,
        class_names=("ant", "bee", "cat"),
        progress={},
    )
    path = tmp_path_factory.mktemp("server") / "server.safetensors"
    save_state(path, state, info)
    return Server(path, info, learner, state, grow(state, config, small_backbone.dim, 6, 3))


@pytest.fixture(scope="session")
def fp32_run(
    small_backbone: Backbone, server: Server, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Result, Export]:
    """Run the command `export --precision fp32 --json` on what the server learnt."""
    written = []

    def remember(*arguments: Any) -> Export:
        written.append(export_bundle(*arguments))
        return written[-1]

    out = tmp_path_factory.mktemp("fp32") / "new" / "fp32.pte"
    capacity = ["--classes", "6", "--tasks", "3", "--micro-batch", "2", "--budget", "1"]
    files = ["--state", str(server.path), "--out", str(out)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export_job, "load_backbone", lambda *_: copy.deepcopy(small_backbone))
        patch.setattr(export_job, "export_bundle", remember)
        result = CliRunner().invoke(
            main,
            ["export", "--target", "xnnpack", "--precision", "fp32", "--json", *capacity, *files],
        )
    assert result.exit_code == 0, result.output
    return result, written[0]


@pytest.fixture(scope="session")
def fp32_export(fp32_run: tuple[Result, Export]) -> Export:
    """The bundle in fp32, six classes in three tasks, that knows what the server learnt."""
    return fp32_run[1]


@pytest.fixture(scope="session")
def micro_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The micro ViT's weights, not pretrained."""
    path = tmp_path_factory.mktemp("weights") / "micro.safetensors"
    torch.manual_seed(0)
    save_file(import_timm().create_model("vit_micro_patch8_32").state_dict(), path)
    return path


@pytest.fixture
def digits(micro_weights: Path) -> Callable[..., Result]:
    """Run a command on a few digits a class with the micro ViT, for one epoch."""
    fixed = ["--dataset", "digits", "--preset", "micro", "--weights", str(micro_weights)]
    small = ["--train-per-class", "6", "--test-per-class", "4", "--epochs", "1"]

    def run(command: str, *more: str) -> Result:
        return CliRunner().invoke(main, [command, *fixed, *small, *more])

    return run
