"""Which engine is taken, by what is said to be installed."""

import importlib.metadata
import os
import sys

import pytest

from cbpnet.host.errors import InputError
from mobile.device.engines import choice
from mobile.device.engines.choice import ENGINES, choose_engine, use_engine
from mobile.device.program import get_threads

PAIR = {"executorch": "1.4.1", "torch": "2.13.0+cpu"}
WITHOUT_TORCH = {"executorch-numpy-runtime": "1.4.0"}


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Packages that are said to be installed; nothing is started."""
    packages: dict[str, str] = {}

    def version(name: str) -> str:
        if name not in packages:
            raise importlib.metadata.PackageNotFoundError(name)
        return packages[name]

    monkeypatch.setattr(importlib.metadata, "version", version)
    monkeypatch.setattr(choice, "_started", lambda name: name)
    monkeypatch.delenv("CBPNET_ENGINE", raising=False)
    return packages


@pytest.mark.parametrize(
    ("packages", "taken"),
    [
        (PAIR, "executorch"),
        (WITHOUT_TORCH, "executorch-numpy-runtime"),
        (PAIR | WITHOUT_TORCH, "executorch"),
        (PAIR | WITHOUT_TORCH | {"torch": "2.12.1"}, "executorch-numpy-runtime"),
        ({"executorch": "1.4.1"} | WITHOUT_TORCH, "executorch-numpy-runtime"),
    ],
)
def test_the_first_that_is_complete_is_taken(
    installed: dict[str, str], packages: dict[str, str], taken: str
) -> None:
    installed.update(packages)
    assert choose_engine() == taken  # type: ignore[comparison-overlap]  # see `installed`


def test_a_name_goes_before_the_variable_and_both_before_what_is_installed(
    installed: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    installed.update(PAIR | WITHOUT_TORCH)
    monkeypatch.setenv("CBPNET_ENGINE", "executorch-numpy-runtime")
    assert choose_engine() == ENGINES[1]  # type: ignore[comparison-overlap]
    assert choose_engine("executorch") == ENGINES[0]  # type: ignore[comparison-overlap]
    monkeypatch.setenv("CBPNET_ENGINE", "")
    assert choose_engine() == ENGINES[0]  # type: ignore[comparison-overlap]


def test_what_is_used_is_used_by_processes_that_are_started_too(
    installed: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CBPNET_ENGINE", "executorch")
    installed.update(WITHOUT_TORCH)
    use_engine("executorch-numpy-runtime")
    assert os.environ["CBPNET_ENGINE"] == "executorch-numpy-runtime"
    with pytest.raises(InputError, match="the engine executorch needs"):
        use_engine("executorch")
    assert os.environ["CBPNET_ENGINE"] == "executorch-numpy-runtime"


@pytest.mark.parametrize(
    ("packages", "reason"),
    [
        ({}, "executorch is none, the installed torch is none, the installed executorch-numpy"),
        (PAIR | {"torch": "2.12.1"}, r"and the installed torch is 2\.12\.1, "),
        (PAIR | {"torch": "2.130.0"}, r"and the installed torch is 2\.130\.0, "),
        (PAIR | {"executorch": "1.3.0"}, r"and the installed executorch is 1\.3\.0, "),
        ({"executorch-numpy-runtime": "2.0"}, r"the installed executorch-numpy-runtime is 2\.0; "),
    ],
)
def test_where_none_is_complete_one_sentence_says_what_to_install(
    installed: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    packages: dict[str, str],
    reason: str,
) -> None:
    installed.update(packages)
    for version, right in (
        ((3, 11), r"; pip install 'cbpnet-mobile\[export\]'$"),
        ((3, 13), "; pip install executorch-numpy-runtime$"),
    ):
        monkeypatch.setattr(sys, "version_info", version)
        for part in ("runs bundles with executorch 1.4 and torch 2.13 together, or", reason, right):
            with pytest.raises(InputError, match=part):
                choose_engine()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("onnx", "there is no engine 'onnx'; right are executorch and executorch-numpy-runtime"),
        (
            "executorch",
            r"engine executorch needs executorch 1\.4 and torch 2\.13, and the installed "
            "executorch is none, the installed torch is none; install that",
        ),
    ],
)
def test_an_engine_that_cannot_be_had_is_one_sentence(
    installed: dict[str, str], name: str, reason: str
) -> None:
    installed.update(WITHOUT_TORCH)
    with pytest.raises(InputError, match=reason):
        choose_engine(name)


def test_there_is_one_of_each_in_a_process() -> None:
    assert choose_engine() is choose_engine()
    assert choose_engine().get_threads() == get_threads()
