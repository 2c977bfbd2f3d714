"""What pip installs where: the device's side without torch, from Python 3.12 on."""

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# Of each, the distributions that carry an engine and what that computes with.
ENGINES = {"executorch", "executorch-numpy-runtime", "torch"}


def asked_for(requirements: list[str], python: str, platform: str = "linux") -> dict[str, str]:
    """What is asked for by this Python on this platform, by name."""
    where = {"python_version": python, "sys_platform": platform}
    return {
        each.name: str(each.specifier)
        for each in map(Requirement, requirements)
        if each.marker is None or each.marker.evaluate(where)
    }


@pytest.mark.parametrize(
    ("python", "platform", "engines"),
    [
        ("3.11", "linux", {"torch"}),
        ("3.12", "linux", {"executorch-numpy-runtime"}),
        ("3.13", "linux", {"executorch-numpy-runtime"}),
        ("3.14", "linux", {"executorch-numpy-runtime"}),
        ("3.13", "darwin", set()),
    ],
)
def test_a_device_has_torch_on_python_3_11_alone(python, platform, engines) -> None:
    assert asked_for(PROJECT["dependencies"], python, platform).keys() & ENGINES == engines


def test_a_device_of_python_3_11_has_the_exporter_s_torch() -> None:
    device = asked_for(PROJECT["dependencies"], "3.11")
    exporter = asked_for(PROJECT["optional-dependencies"]["export"], "3.11")
    assert device["torch"] == exporter["torch"]


@pytest.mark.parametrize("python", ["3.11.2", "3.12.0", "3.13.5", "3.14.0"])
def test_no_python_from_3_11_on_is_refused(python: str) -> None:
    assert SpecifierSet(PROJECT["requires-python"]).contains(python)
    assert not SpecifierSet(PROJECT["requires-python"]).contains("3.10.14")
