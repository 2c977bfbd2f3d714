"""What the tests of the commands share."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from safetensors.torch import save_file

import cbpnet.micro_vit  # noqa: F401  makes its name known to timm
from cbpnet.torchvision_compat import import_timm
from mobile.cli import main


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
