"""timm is importable whether or not torchvision's compiled operators load."""

import importlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch

from cbpnet.backbone.torchvision_compat import import_timm

# What torchvision does on import, whether its compiled operators have loaded or not.
_REGISTER_SHAPES = """
import torch
for name in ("nms", "qnms"):
    torch.library.register_fake(f"torchvision::{name}")(lambda dets, scores, iou: dets)
"""
_IMPORT_TWICE = """
import torch
from cbpnet.backbone.torchvision_compat import import_timm
assert import_timm() is import_timm()
print(torch.ops.torchvision.nms.default._schema)
"""


def test_missing_operators_are_declared(tmp_path: Path) -> None:
    # In an interpreter of its own, with stand-ins: operators cannot be taken back.
    (tmp_path / "torchvision.py").write_text(_REGISTER_SHAPES)
    (tmp_path / "timm.py").write_text("import torchvision")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{_IMPORT_TWICE}"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Tensor dets" in done.stdout


def test_the_installed_timm_is_imported() -> None:
    timm = import_timm()
    assert timm.__name__ == "timm"
    assert timm.is_model("vit_tiny_patch16_224")


def _torchvision_that(act: Callable[[], ModuleType]) -> Callable[[str], ModuleType]:
    return lambda name: act() if name == "torchvision" else ModuleType(name)


def test_working_operators_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def declare(*_: object) -> None:
        raise AssertionError("declared operators that exist")

    working = _torchvision_that(lambda: ModuleType("torchvision"))
    monkeypatch.setattr(importlib, "import_module", working)
    monkeypatch.setattr(torch.library, "Library", declare)
    assert import_timm().__name__ == "timm"


@pytest.mark.parametrize("error", [RuntimeError("no CUDA"), ImportError("no torchvision")])
def test_any_other_failure_of_torchvision_is_shown(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail() -> ModuleType:
        raise error

    monkeypatch.setattr(importlib, "import_module", _torchvision_that(fail))
    with pytest.raises(type(error), match=str(error)):
        import_timm()
