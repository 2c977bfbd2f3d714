"""What a bundle can be lowered to; one file a target, found through one table.

The table imports no target: a device has none of what they need.
"""

import importlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cbpnet.errors import InputError

__all__ = ["TARGETS", "Target", "load_target"]

_EXPORTER = {
    "executorch.exir": "executorch==1.4.1",
    "torchao": "torchao==0.18.0",
    "timm": "timm==1.0.31",
}


@dataclass(frozen=True)
class Target:
    """What a target runs on, in which precisions, and how that was verified.

    ``module`` has its partitioner. ``needs`` are the packages that exporting for it imports, and
    what pip installs each from.
    """

    runs_on: str
    precisions: tuple[str, ...]
    verified: str
    module: str
    needs: Mapping[str, str] = field(default_factory=_EXPORTER.copy)

    @property
    def missing(self) -> list[str]:
        """The needed packages that are not installed here."""
        return [name for name in self.needs if not _installed(name)]

    @property
    def install(self) -> str | None:
        """The command that installs what is missing; None where nothing is."""
        missing = [self.needs[name] for name in self.missing]
        return f"pip install {' '.join(missing)}" if missing else None


TARGETS = {
    "xnnpack": Target(
        runs_on="ARM and x86 CPUs, through ExecuTorch's XNNPACK backend",
        precisions=("int8", "fp32"),
        verified="run on x86-64 against PyTorch at the end of every export; not yet run on a phone "
        "or a board",
        module="mobile.targets.xnnpack",
    ),
}


def load_target(name: str) -> Any:
    """Return the module of a target.

    Raises:
        InputError: what it needs is not installed; the message has the command that installs it.
    """
    target = TARGETS[name]
    if target.missing:
        raise InputError(
            f"target {name} needs {', '.join(target.missing)}, which is not installed here; "
            f"install it with `{target.install}`"
        )
    return importlib.import_module(target.module)


def _installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:  # of the package around it
        return False
