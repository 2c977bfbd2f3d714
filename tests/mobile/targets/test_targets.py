"""The table of targets: what it says is so, and a package that is missing is named."""

import importlib.util
import json
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner
from executorch.exir.backend.partitioner import Partitioner

from cbpnet.host.errors import InputError
from mobile.cli import main
from mobile.targets import TARGETS, Option, Target, backend, resolve_target

PROJECT = Path(__file__).parents[3] / "pyproject.toml"

IMAGINARY = """
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from mobile.targets import backend


class Backend(backend.Backend):
    def __init__(self, speed):
        print(speed)

    def partitioner(self):
        return XnnpackPartitioner()
"""


@pytest.fixture
def without_torchao(monkeypatch):
    true = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "torchao" else true(name)
    )


@pytest.fixture
def imaginary(monkeypatch, tmp_path):
    """A target that is one file and one row of the table."""
    (tmp_path / "imaginary_npu.py").write_text(IMAGINARY)
    monkeypatch.syspath_prepend(tmp_path)
    row = Target(
        runs_on="nothing that exists",
        precisions=("int8",),
        verified="not at all",
        module="imaginary_npu",
        options={"speed": Option(("slow", "fast"), "how fast it is")},
        learns=False,
    )
    monkeypatch.setitem(TARGETS, "imaginary", row)


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_has_a_partitioner(name):
    if TARGETS[name].missing:
        pytest.skip(f"{name} is not installed: {TARGETS[name].install}")
    if TARGETS[name].missing_sdk:
        pytest.skip(f"{name} is not installed: {TARGETS[name].missing_sdk.install}")
    target = resolve_target(name, TARGETS[name].precisions[0])
    assert target.learns == TARGETS[name].learns
    assert isinstance(target.learning, backend.Backend)
    if not target.backend.delegates:
        pytest.skip(f"{name} has no delegate")
    assert isinstance(target.backend.partitioner(), Partitioner)


@pytest.mark.parametrize("name", TARGETS)
def test_the_project_has_its_extras(name):
    extras = tomllib.loads(PROJECT.read_text())["project"]["optional-dependencies"]
    assert TARGETS[name].extras == (("export", name) if name in extras else ("export",))


def test_a_new_target_is_a_file_and_a_row(imaginary, capsys):
    target = resolve_target("imaginary", "int8", {"speed": "fast"})
    assert isinstance(target.backend.partitioner(), Partitioner)
    assert capsys.readouterr().out == "fast\n"
    assert resolve_target("imaginary", "int8").options == {"speed": "slow"}
    assert target.calibrated
    result = CliRunner().invoke(main, ["targets"])
    assert "imaginary: nothing that exists" in result.output
    assert "--option speed: how fast it is; slow or fast" in result.output


@pytest.mark.parametrize(
    ("target", "precision", "options", "message"),
    [
        ("imaginary", "int8", {"sped": "fast"}, "no option 'sped'; it has speed"),
        ("imaginary", "int8", {"speed": "9"}, "speed of .* is '9'; it must be one of slow, fast"),
        ("xnnpack", "int8", {"device": "NPU"}, "no option 'device'; it has none"),
        ("imaginary", "fp32", {}, "has no precision 'fp32'; it must be int8"),
        ("toaster", "int8", {}, "target 'toaster' does not exist; it must be one of xnnpack, "),
    ],
)
def test_what_a_target_does_not_have_is_refused(imaginary, target, precision, options, message):
    with pytest.raises(InputError, match=message):
        resolve_target(target, precision, options)


def test_the_installed_target_lacks_nothing():
    assert TARGETS["xnnpack"].missing == []
    assert TARGETS["xnnpack"].install is None


def test_an_extra_is_quoted_for_the_shell(monkeypatch):
    true = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name: None if name in ("openvino", "nncf") else true(name),
    )
    assert TARGETS["openvino"].install == "pip install 'cbpnet-mobile[export,openvino]'"
    with pytest.raises(InputError, match="openvino lacks openvino, nncf here; install"):
        resolve_target("openvino", "int8")


@pytest.mark.usefixtures("without_torchao")
def test_a_missing_package_is_named_with_what_installs_it():
    assert TARGETS["xnnpack"].missing == ["torchao"]
    with pytest.raises(
        InputError,
        match=r"lacks torchao here; .* `pip install 'cbpnet-mobile\[export\]'`, with",
    ):
        resolve_target("xnnpack", "int8")


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
    assert rows["xnnpack"]["needs"] == ["cbpnet-mobile[export]"]
    assert rows["openvino"]["learns"] is False
    assert rows["openvino"]["options"]["device"]["choices"] == ["CPU", "GPU", "NPU"]


@pytest.mark.usefixtures("without_torchao")
def test_the_command_has_what_installs_a_target():
    result = CliRunner().invoke(main, ["targets"])
    wanted = (
        "no, it lacks torchao: pip install 'cbpnet-mobile[export]', with the CPU build of torch"
    )
    assert wanted in result.output
    row = json.loads(CliRunner().invoke(main, ["targets", "--json"]).stdout)["xnnpack"]
    assert (row["installed"], row["missing"]) == (False, ["torchao"])
    assert row["install"] == "pip install 'cbpnet-mobile[export]'"
