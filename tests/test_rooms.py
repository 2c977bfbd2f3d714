"""The floor plan: which room imports which, that no import runs in a circle, and what a face shows.

A room is a folder of a package. What a room may import is written here once; a new arrow between
rooms is a decision, and is made by changing this table.
"""

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("cbpnet", "quantize", "mobile")

ROOMS = {
    "cbpnet": {
        "host": set(),
        "method": {"host"},
        "data": {"host"},
        "backbone": {"data", "host", "method"},
        "run": {"data", "host", "method"},
        "study": {"backbone", "data", "host", "method", "run"},
    },
    "mobile": {
        "device": set(),
        "targets": set(),
        "trust": set(),
        "export": {"device", "targets"},
        "measure": {"device"},
        "raspberry_pi": {"device"},
        "cli": {"device", "export", "measure", "raspberry_pi", "targets", "trust"},
    },
}
FACES = (
    *PACKAGES,
    *(f"cbpnet.{room}" for room in ROOMS["cbpnet"]),
    "mobile.device",
    "mobile.export",
    "mobile.measure",
    "mobile.targets",
    "mobile.trust",
)
# What a board does without: the exporter, timm, recipes for int8, what is for studies.
NOT_ON_A_DEVICE = (
    "cbpnet.backbone",
    "cbpnet.study",
    "executorch.exir",
    "matplotlib",
    "mobile.export",
    "mobile.targets",
    "quantize",
    "sklearn",
    "timm",
    "torchao",
    "torchvision",
)


def _module(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imported(source: str) -> Iterator[str]:
    """Every absolute import, wherever it stands; of `from a import b` both `a` and `a.b`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _imports(root: Path) -> dict[str, set[str]]:
    """The modules of the project that each of its modules imports."""
    files = {_module(path, root): path for name in PACKAGES for path in (root / name).rglob("*.py")}
    return {
        module: {
            name
            for name in _imported(path.read_text(encoding="utf-8"))
            if name in files and name != module and not _is_face_of(name, module, files)
        }
        for module, path in files.items()
    }


def _is_face_of(name: str, module: str, files: dict[str, Path]) -> bool:
    """Whether importing `name` only passes through a package on the way to one of its modules."""
    return files[name].name == "__init__.py" and module.startswith(f"{name}.")


@cache
def _project() -> dict[str, set[str]]:
    return _imports(ROOT)


def _arrows(package: str, imports: dict[str, set[str]]) -> dict[str, set[str]]:
    """Which rooms of a package each of its rooms imports."""
    arrows: dict[str, set[str]] = {}
    for module, names in imports.items():
        top, _, rest = module.partition(".")
        if top != package or rest in ("", "__main__"):
            continue
        room = rest.partition(".")[0]
        found = {name.split(".")[1] for name in names if name.startswith(f"{package}.")}
        arrows.setdefault(room, set()).update(found - {room})
    return arrows


def _circle(imports: dict[str, set[str]]) -> list[str]:
    """Return modules that import each other in a loop, or nothing."""
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


@pytest.mark.parametrize("package", ROOMS)
def test_each_room_imports_the_rooms_below_it_and_no_others(package: str) -> None:
    assert _arrows(package, _project()) == ROOMS[package]


def test_no_import_runs_in_a_circle() -> None:
    assert _circle(_project()) == []


def test_a_planted_circle_and_a_planted_arrow_are_found(tmp_path: Path) -> None:
    for name in ("method", "host"):
        (tmp_path / "cbpnet" / name).mkdir(parents=True)
    (tmp_path / "cbpnet/method/a.py").write_text("from cbpnet.host import b")
    (tmp_path / "cbpnet/host/b.py").write_text("def f():\n    import cbpnet.method.a")
    imports = _imports(tmp_path)
    assert set(_circle(imports)) == {"cbpnet.method.a", "cbpnet.host.b"}
    assert _arrows("cbpnet", imports) == {"method": {"host"}, "host": {"method"}}


@pytest.mark.parametrize("room", ["cbpnet.method", "mobile.device"])
def test_what_runs_on_a_device_reaches_no_exporter(room: str) -> None:
    imports = _project()
    reached: set[str] = set()
    waiting = [name for name in imports if name.startswith(f"{room}.")]
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += imports[name]
    assert not [
        name for name in reached if name.startswith(tuple(f"{out}." for out in NOT_ON_A_DEVICE))
    ]


def test_every_module_of_a_device_is_imported_without_the_exporter() -> None:
    """In a new process: what an import draws in is seen only where nothing else is loaded."""
    modules = [name for name in _project() if name.startswith(("mobile.device.", "cbpnet.method."))]
    code = (
        f"import importlib, sys; [importlib.import_module(name) for name in {modules}];"
        f"print([name for name in {NOT_ON_A_DEVICE} if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert result.stdout.strip() == "[]"


def test_a_bundle_and_a_states_info_are_read_without_torch() -> None:
    code = "import sys, mobile.device.bundle, cbpnet.run.state_info; print('torch' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert result.stdout.strip() == "False"


@pytest.mark.parametrize("name", FACES)
def test_a_face_shows_what_is_there(name: str) -> None:
    face = importlib.import_module(name)
    assert face.__all__
    assert face.__doc__
    assert all(getattr(face, shown) is not None for shown in face.__all__)


def test_a_face_draws_in_nothing() -> None:
    code = f"import sys, {', '.join(FACES)}; print('torch' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert result.stdout.strip() == "False"
