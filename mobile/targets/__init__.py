"""What a bundle can be lowered to; one file a target, found through one table.

The table imports no target: a device has none of what they need.
"""

import importlib
import importlib.util
from dataclasses import dataclass
from typing import Any

from cbpnet.errors import InputError

__all__ = ["TARGETS", "Target", "load_target"]


@dataclass(frozen=True)
class Target:
    """A target: what it runs on, how it was verified, and the packages that export for it needs."""

    runs_on: str
    verified: str
    module: str
    needs: tuple[str, ...] = ("executorch.exir", "torchao", "timm")

    @property
    def missing(self) -> list[str]:
        """The needed packages that are not installed here."""
        return [name for name in self.needs if not _installed(name)]


TARGETS = {
    "xnnpack": Target(
        runs_on="ARM and x86 CPUs (XNNPACK), int8 or fp32",
        verified="run on x86-64 against PyTorch at every export; not yet run on a phone or a board",
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
            "install it with `pip install cbpnet-mobile`"
        )
    return importlib.import_module(target.module)


def _installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:  # of the package around it
        return False
