"""A bundle for Qualcomm's Hexagon, as far as it goes without Qualcomm's SDK.

ExecuTorch's own passes, partitioner and operators are the real ones. In place of the compiler,
which is the SDK's, stands `StandInForQualcommsCompiler`: it takes every operator, remembers what it
was asked to compile and returns a few bytes. So these tests say nothing of what Qualcomm's compiler
takes, and nothing of numbers.
"""

import ctypes
import sys
from types import ModuleType, SimpleNamespace
from typing import ClassVar

import pytest
from click.testing import CliRunner

from cbpnet.host.errors import InputError
from mobile.cli import main
from mobile.targets import TARGETS, resolve_target

# executorch 1.4.1 logs in Python's old way which operators it does decompose.
pytestmark = pytest.mark.filterwarnings("ignore:The 'warn' function is deprecated")

LIBRARY = "lib/x86_64-linux-clang/libQnnHtp.so"
CONTEXT = b"not Qualcomm's context binary"


class StandInForQualcommsCompiler:
    compiled: ClassVar[list[dict[str, int]]] = []
    is_open = False

    def __init__(self, options):
        self.options = options

    def InitBackend(self):  # noqa: N802  its name in ExecuTorch, like those below
        type(self).is_open = True
        return SimpleNamespace(value=0)

    def Destroy(self):  # noqa: N802
        type(self).is_open = False

    def InitContext(self, graphs):  # noqa: N802
        assert self.is_open

    def DestroyContext(self):  # noqa: N802
        pass

    def IsTensorDump(self):  # noqa: N802
        return False

    def IsNodeSupportedByBackend(self, operators):  # noqa: N802
        return True

    def Compile(self, graphs, operators):  # noqa: N802
        self.compiled.append(dict(zip(graphs, map(len, operators), strict=True)))
        return CONTEXT


@pytest.fixture
def sdk(tmp_path, monkeypatch):
    """A folder that looks like the SDK, a library that loads, and what ExecuTorch imports."""
    (tmp_path / LIBRARY).parent.mkdir(parents=True)
    (tmp_path / LIBRARY).touch()
    monkeypatch.setenv("QNN_SDK_ROOT", str(tmp_path))
    cpu = ModuleType("cpuinfo")
    cpu.get_cpu_info = dict
    monkeypatch.setitem(sys.modules, "cpuinfo", cpu)
    monkeypatch.setattr("mobile.targets.catalogue._installed", lambda name: True)
    true = ctypes.CDLL
    monkeypatch.setattr(
        ctypes, "CDLL", lambda name, *rest: None if name == "libQnnHtp.so" else true(name, *rest)
    )


@pytest.fixture
def compiled(sdk, monkeypatch):
    """What the stand-in was asked to compile."""
    from executorch.backends.qualcomm.utils import qnn_manager_lifecycle

    native = SimpleNamespace(QnnManager=StandInForQualcommsCompiler)
    monkeypatch.setattr(qnn_manager_lifecycle, "PyQnnManager", native)
    monkeypatch.setattr(StandInForQualcommsCompiler, "compiled", [])
    # On a backbone this small, what the CPU does is more than a crumb.
    monkeypatch.setattr("mobile.export.lowering._CRUMB", 0.1)
    return StandInForQualcommsCompiler.compiled


@pytest.mark.slow
def test_the_trunk_goes_to_the_compiler_and_the_learner_stays(compiled, export_for):
    target = resolve_target("qnn", "int8")
    assert not target.calibrated
    export = export_for(target)
    program = export.path.read_bytes()
    assert b"QnnBackend" in program
    assert CONTEXT in program
    assert b"XnnpackBackend" in program
    assert export.agreement.features is None
    patches, trunk = compiled
    assert patches.keys() == trunk.keys() == {"features"}
    assert trunk["features"] > 50 > patches["features"]
    found = export.delegation["features"]
    assert found.delegate_calls == 2
    assert {"_softmax", "amax", "cat"} <= found.undelegated.keys()
    assert not {"bmm", "gelu", "addmm", "linear"} & found.undelegated.keys()
    assert not StandInForQualcommsCompiler.is_open


@pytest.mark.parametrize("soc", TARGETS["qnn"].options["soc"].choices)
def test_every_system_on_a_chip_is_known_to_executorch(sdk, soc):
    from executorch.backends.qualcomm.serialization.qc_schema import QcomChipset
    from executorch.backends.qualcomm.serialization.qc_schema_serialize import flatbuffer_to_option

    (spec,) = resolve_target("qnn", "int8", {"soc": soc}).backend.specs
    assert flatbuffer_to_option(spec.value).soc_info.soc_model == QcomChipset[soc]


def test_another_system_on_a_chip_is_refused():
    with pytest.raises(InputError, match="soc of target qnn is 'SM1'; it must be one of SM8650"):
        resolve_target("qnn", "int8", {"soc": "SM1"})


@pytest.mark.parametrize("variable", [None, "an empty folder"])
def test_without_the_sdk_it_is_refused_before_executorch_downloads_it(
    sdk, variable, monkeypatch, tmp_path
):
    monkeypatch.delenv("QNN_SDK_ROOT")
    if variable:
        monkeypatch.setenv("QNN_SDK_ROOT", str(tmp_path / "empty"))
    monkeypatch.setattr("importlib.import_module", lambda name: pytest.fail(f"imports {name}"))
    with pytest.raises(InputError) as refusal:
        resolve_target("qnn", "int8")
    assert str(refusal.value) == (
        "target qnn needs Qualcomm's AI Engine Direct SDK, which is not installed here; get it "
        "from its vendor and set QNN_SDK_ROOT to its folder, with "
        "lib/x86_64-linux-clang/libQnnHtp.so"
    )


def test_the_command_says_that_the_sdk_is_missing(monkeypatch):
    monkeypatch.delenv("QNN_SDK_ROOT", raising=False)
    monkeypatch.setattr("mobile.targets.catalogue._installed", lambda name: name != "cpuinfo")
    shown = CliRunner().invoke(main, ["targets"]).output
    assert (
        "no, it lacks cpuinfo, Qualcomm's AI Engine Direct SDK: pip install "
        "'cbpnet-mobile[export,qnn]', with the CPU build of torch in place first; get it from its "
        "vendor and set QNN_SDK_ROOT" in shown
    )


def test_a_library_that_does_not_load_is_named(sdk, monkeypatch):
    def refuse(name, *rest):
        raise OSError("libc++.so.1: cannot open shared object file")

    from mobile.targets import qnn

    monkeypatch.setattr(qnn.ctypes, "CDLL", refuse)
    with pytest.raises(InputError, match=r"libQnnHtp.so cannot be loaded \(libc\+\+.* LD_LIBRARY"):
        resolve_target("qnn", "int8")
