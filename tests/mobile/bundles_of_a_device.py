"""Bundles where they cannot be made: a PC made them, and no learner in PyTorch is beside them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .made_once import MadeOnce


def _taken(name: str, file: str) -> Callable[..., Any]:
    def take(made_once: MadeOnce) -> Path:
        return made_once(file, _missing)

    return pytest.fixture(scope="session", name=name)(take)


def _missing(path: Path) -> None:
    pytest.skip(f"{path} is made where torch is: make_bundles.py, with CBPNET_BUNDLES")


def _in_pytorch(name: str) -> Callable[..., Any]:
    def skip() -> None:
        pytest.skip(f"{name} needs torch")

    return pytest.fixture(scope="session", name=name)(skip)


bundle = _taken("bundle", "toy.pte")
other_bundle = _taken("other_bundle", "other.pte")
one_pass_bundle = _taken("one_pass_bundle", "one_pass.pte")
int8_bundle = _taken("int8_bundle", "int8.pte")
int8_one_pass = _taken("int8_one_pass", "int8_one_pass.pte")
eager = _in_pytorch("eager")
one_pass_eager = _in_pytorch("one_pass_eager")
small_backbone = _in_pytorch("small_backbone")
server = _in_pytorch("server")
fp32_run = _in_pytorch("fp32_run")
fp32_export = _in_pytorch("fp32_export")
micro_weights = _in_pytorch("micro_weights")
digits = _in_pytorch("digits")
