"""The table of targets: what it says is so, and a package that is missing is named."""

import importlib.util
import json
import sys
from importlib.metadata import requires

import pytest
from click.testing import CliRunner
from executorch.exir.backend.partitioner import Partitioner

from cbpnet.errors import InputError
from mobile.cli import main
from mobile.targets import TARGETS, load_target


@pytest.fixture
def without_torchao(monkeypatch):
    true = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "torchao" else true(name)
    )


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_has_a_partitioner(name):
    assert isinstance(load_target(name).partitioner(), Partitioner)


@pytest.mark.parametrize("name", TARGETS)
def test_its_packages_are_those_that_the_project_pins(name):
    pins = requires("cbpnet-mobile")
    for package, requirement in TARGETS[name].needs.items():
        assert requirement in pins
        assert package.partition(".")[0] == requirement.partition("==")[0]
    assert TARGETS[name].missing == []
    assert TARGETS[name].install is None


@pytest.mark.usefixtures("without_torchao")
def test_a_missing_package_is_named_with_what_installs_it():
    assert TARGETS["xnnpack"].missing == ["torchao"]
    with pytest.raises(InputError, match=r"needs torchao, .* `pip install torchao==0\.18\.0`"):
        load_target("xnnpack")


def test_a_part_of_a_missing_package_is_missing(monkeypatch):
    """find_spec raises for a module in a package that does not exist."""
    monkeypatch.setitem(sys.modules, "executorch", None)
    monkeypatch.delitem(sys.modules, "executorch.exir", raising=False)
    assert "executorch.exir" in TARGETS["xnnpack"].missing


def test_the_command_lists_every_target():
    result = CliRunner().invoke(main, ["targets"])
    assert result.exit_code == 0, result.output
    for name, target in TARGETS.items():
        assert f"{name}: {target.runs_on}" in result.output
        assert target.verified in result.output
    assert "installed here: yes" in result.output
    rows = json.loads(CliRunner().invoke(main, ["targets", "--json"]).stdout)
    assert rows.keys() == TARGETS.keys()
    assert rows["xnnpack"]["precisions"] == ["int8", "fp32"]
    assert rows["xnnpack"]["installed"] is True


@pytest.mark.usefixtures("without_torchao")
def test_the_command_has_what_installs_a_target():
    result = CliRunner().invoke(main, ["targets"])
    assert "no, it lacks torchao: pip install torchao==0.18.0" in result.output
    row = json.loads(CliRunner().invoke(main, ["targets", "--json"]).stdout)["xnnpack"]
    assert (row["installed"], row["missing"]) == (False, ["torchao"])
    assert row["install"] == "pip install torchao==0.18.0"
