"""The rules of the house: pins, layers, declared names, file lengths, no machine's paths."""

import ast
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("cbpnet", "quantize", "mobile")
MATCHING_SET = ("executorch", "torch", "torchao", "torchvision")
FORBIDDEN_IMPORTS = {
    "cbpnet": {"executorch", "mobile", "quantize", "torchao"},
    "quantize": {"mobile"},
}
MAX_LINES = 400

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
# What is installed to work on the project, with this Python.
REQUIREMENTS = {
    requirement.name: requirement
    for requirement in map(
        Requirement,
        PROJECT["dependencies"]
        + [name for extra in ("export", "heic", "test", "dev") for name in EXTRAS[extra]],
    )
    if requirement.marker is None or requirement.marker.evaluate()
}
# An absolute path that only one machine has, or a package registry's host.
FOREIGN = re.compile(
    r"(?<![\w.~-])/(?:work|home|root|opt|Users)/"
    r"|\b(?:pypi\.org|files\.pythonhosted\.org|download\.pytorch\.org)\b"
)


def _modules() -> list[Path]:
    return [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def _imported_names(source: str) -> Iterator[str]:
    """The top-level package of every import, wherever it stands, dynamic ones included."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                yield from (alias.name.partition(".")[0] for alias in names)
            case ast.ImportFrom(module=str(module), level=0):
                yield module.partition(".")[0]
            case ast.Call(
                func=ast.Attribute(attr=function) | ast.Name(id=function),
                args=[ast.Constant(value=str(module)), *_],
            ) if function in {"import_module", "__import__"}:
                yield module.partition(".")[0]


def _layer_violations(root: Path) -> list[str]:
    return [
        f"{path.relative_to(root)} imports {name}"
        for package, forbidden in FORBIDDEN_IMPORTS.items()
        for path in sorted((root / package).rglob("*.py"))
        for name in _imported_names(path.read_text(encoding="utf-8"))
        if name in forbidden
    ]


def _declares_all(source: str) -> bool:
    """Whether a module assigns `__all__` once at its top level, or has nothing but a docstring."""
    body = ast.parse(source).body
    if ast.get_docstring(ast.Module(body, [])) is not None and len(body) == 1:
        return True
    assigned = [
        name
        for node in body
        if isinstance(node, ast.Assign)
        for target in node.targets
        for name in ast.walk(target)
        if isinstance(name, ast.Name) and name.id == "__all__"
    ]
    return len(assigned) == 1


@pytest.mark.parametrize("name", sorted(REQUIREMENTS))
def test_the_installed_version_is_one_that_pyproject_asks_for(name: str) -> None:
    assert REQUIREMENTS[name].specifier.contains(version(name), prereleases=True)


@pytest.mark.parametrize("name", MATCHING_SET)
def test_the_matching_set_is_pinned_exactly(name: str) -> None:
    (pin,) = REQUIREMENTS[name].specifier
    assert pin.operator == "=="
    # A local label ("+cpu") says which build it is, not which version.
    assert version(name).partition("+")[0] == pin.version


def test_the_pinned_executorch_runs_with_the_pinned_torch() -> None:
    from executorch.runtime import Runtime

    assert "XnnpackBackend" in Runtime.get().backend_registry.registered_backend_names


def test_make_installs_the_pinned_torch_first() -> None:
    if shutil.which("make") is None:
        pytest.skip("needs make")
    plan = subprocess.run(
        ["make", "--dry-run", "--always-make", "test"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    installs = [
        line for line in plan.splitlines() if "pip install" in line and "--dry-run" not in line
    ]
    assert f'"{REQUIREMENTS["torch"]}"' in installs[0]
    assert '".[dev]"' in installs[1]


def test_imports_go_one_way() -> None:
    assert _layer_violations(ROOT) == []


@pytest.mark.parametrize(
    "statement",
    [
        "import mobile.cli",
        "import json, mobile as m",
        "from mobile import cli",
        "def f():\n    from mobile.cli import main",
        "if False:\n    import mobile",
        "import importlib\nimportlib.import_module('mobile.cli')",
        "__import__('mobile')",
    ],
)
@pytest.mark.parametrize("package", FORBIDDEN_IMPORTS)
def test_a_planted_import_is_found(tmp_path: Path, package: str, statement: str) -> None:
    planted = tmp_path / package / "data" / "planted.py"
    planted.parent.mkdir(parents=True)
    planted.write_text(statement, encoding="utf-8")
    assert _layer_violations(tmp_path) == [f"{planted.relative_to(tmp_path)} imports mobile"]


def test_permitted_imports_are_not_reported(tmp_path: Path) -> None:
    for package in PACKAGES:
        (tmp_path / package).mkdir()
    (tmp_path / "cbpnet" / "a.py").write_text("import mobilenet\nfrom . import mobile\n")
    (tmp_path / "quantize" / "a.py").write_text("import torchao\nfrom cbpnet import a\n")
    (tmp_path / "mobile" / "a.py").write_text("import executorch\nfrom quantize import a\n")
    assert _layer_violations(tmp_path) == []


def test_every_public_module_declares_its_names() -> None:
    assert [
        str(path.relative_to(ROOT))
        for path in _modules()
        if (path.name == "__init__.py" or not path.name.startswith("_"))
        and not _declares_all(path.read_text(encoding="utf-8"))
    ] == []


@pytest.mark.parametrize(
    ("source", "declares"),
    [
        ('"""Only a docstring."""', True),
        ('"""One."""\n__all__ = ["x"]\nx = 1', True),
        ("__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)", True),
        ('"""None."""\nx = 1', False),
        ('__all__ = ["x"]\n__all__ = []\nx = 1', False),
        ("def f():\n    __all__ = []", False),
    ],
)
def test_a_missing_declaration_is_found(source: str, declares: bool) -> None:
    assert _declares_all(source) is declares


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


def _defined(tree: ast.Module) -> set[str]:
    """What a module names itself: functions, classes, variables and attributes."""
    names = set()
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                names.add(name)
            case ast.ClassDef(name=name):
                names.add(name)
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                names.add(name)
    return names


def _borrowed_privates(root: Path, packages: Iterable[str]) -> list[str]:
    """Where a module imports or uses a private name that is another module's of the project."""
    trees = {
        path.relative_to(root): ast.parse(path.read_text(encoding="utf-8"))
        for package in packages
        for path in sorted((root / package).rglob("*.py"))
    }
    privates = {name for tree in trees.values() for name in _defined(tree) if _is_private(name)}
    found = []
    for path, tree in trees.items():
        foreign = privates - _defined(tree)
        for node in ast.walk(tree):
            match node:
                case ast.ImportFrom(module=str(module), names=names) if (
                    module.partition(".")[0] in packages
                ):
                    used = {alias.name for alias in names if _is_private(alias.name)}
                case ast.Attribute(attr=name) if name in foreign:
                    used = {name}
                case _:
                    continue
            found += [f"{path}:{node.lineno} uses {name}" for name in sorted(used)]
    return found


def test_no_module_uses_a_private_name_of_another() -> None:
    assert _borrowed_privates(ROOT, (*PACKAGES, "benchmarks", "android_demo")) == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from cbpnet.owner import _secret", ["mobile/user.py:1 uses _secret"]),
        ("def f(owner):\n    return owner._rate + 1", ["mobile/user.py:2 uses _rate"]),
        ("from cbpnet.owner import public, __version__", []),
        ("class Own:\n    def _rate(self):\n        return self._rate()", []),
        ("import torch\ntorch._dynamo.reset()", []),
    ],
)
def test_a_planted_use_of_a_private_name_is_found(
    tmp_path: Path, source: str, found: list[str]
) -> None:
    for package in ("cbpnet", "mobile"):
        (tmp_path / package).mkdir()
    owner = "_secret = 1\npublic = 2\nclass Owner:\n    def f(self):\n        self._rate = 1\n"
    (tmp_path / "cbpnet" / "owner.py").write_text(owner, encoding="utf-8")
    (tmp_path / "mobile" / "user.py").write_text(source, encoding="utf-8")
    assert _borrowed_privates(tmp_path, ("cbpnet", "mobile")) == found


def test_files_are_short() -> None:
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for path in [*_modules(), *sorted((ROOT / "tests").rglob("*.py"))]
    }
    assert {name: length for name, length in lengths.items() if length >= MAX_LINES} == {}


def test_no_tracked_file_names_a_machine_or_a_registry(tracked_files: list[Path]) -> None:
    found = []
    for path in tracked_files:
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # a picture or other binary file
        if path == Path(__file__).resolve():
            continue  # its planted examples
        found += [
            f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
            for number, line in enumerate(text.splitlines(), start=1)
            if FOREIGN.search(line)
        ]
    assert found == []


@pytest.mark.parametrize(
    ("line", "foreign"),
    [
        ("/home/anna/data", True),
        ("weights = '/opt/models/weights'", True),
        ("pip install --index-url https://download.pytorch.org/whl/cpu torch", True),
        ("../shared/opt/x", False),
        ("https://github.com/someone/home/issues", False),
        ("#!/usr/bin/env bash", False),
    ],
)
def test_a_planted_path_is_found(line: str, foreign: bool) -> None:
    assert bool(FOREIGN.search(line)) is foreign
