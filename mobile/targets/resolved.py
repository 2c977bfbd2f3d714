"""A target resolved for one export: everything that was asked of it, checked, and its backend."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cbpnet.host.errors import InputError
from mobile.targets.catalogue import TARGETS, TORCH_FIRST, Target

if TYPE_CHECKING:  # with the exporter, whose absence is to be said in one sentence
    from mobile.targets.backend import Backend
    from quantize.frozen_linear import Precision

__all__ = ["ResolvedTarget", "resolve_target"]

_LEARNING = "xnnpack"  # what learns beside a target that does not


@dataclass(frozen=True)
class ResolvedTarget:
    """A target in one precision, with each of its options.

    ``backend`` runs `query` and `predict`; ``learning`` runs what differentiates: the same object
    where the target learns, and XNNPACK's where it does not.
    """

    name: str
    precision: "Precision"
    options: Mapping[str, str]
    backend: "Backend"
    learning: "Backend"

    @property
    def learns(self) -> bool:
        """Whether one backend runs every method."""
        return self.learning is self.backend

    @property
    def calibrated(self) -> bool:
        """Whether an export needs images to calibrate on."""
        return self.precision == "int8" and not self.learns and self.backend.calibrated


def resolve_target(
    name: str, precision: "Precision", given: Mapping[str, str] | None = None
) -> ResolvedTarget:
    """Return a target with the options that were given, the others at their defaults.

    Raises:
        InputError: there is no such target, or it has no such precision, option or value; what it
            needs is not installed, and the message has the command that installs it; or its backend
            refuses an option on this machine.
    """
    if name not in TARGETS:
        raise InputError(f"target {name!r} does not exist; it must be one of {', '.join(TARGETS)}")
    target = TARGETS[name]
    options = _options(name, target, given or {})
    if precision not in target.precisions:
        raise InputError(
            f"target {name} has no precision {precision!r}; it must be "
            f"{' or '.join(target.precisions)}"
        )
    backend = _construct(name, target, options)
    learning = backend if target.learns else _construct(_LEARNING, TARGETS[_LEARNING], {})
    return ResolvedTarget(name, precision, options, backend, learning)


def _options(name: str, target: Target, given: Mapping[str, str]) -> dict[str, str]:
    """Return every option of a target: the value that was given, or its default."""
    options = target.options
    for key, value in given.items():
        if key not in options:
            right = f"it has {', '.join(options)}" if options else "it has none"
            raise InputError(f"target {name} has no option {key!r}; {right}")
        if value not in options[key].choices:
            raise InputError(
                f"option {key} of target {name} is {value!r}; it must be one of "
                f"{', '.join(options[key].choices)}"
            )
    return {key: given.get(key, option.choices[0]) for key, option in options.items()}


def _construct(name: str, target: Target, options: Mapping[str, str]) -> "Backend":
    if target.missing:
        raise InputError(
            f"target {name} lacks {', '.join(target.missing)} here; install what it needs with "
            f"`{target.install}`, {TORCH_FIRST}"
        )
    sdk = target.missing_sdk
    if sdk is not None:
        raise InputError(
            f"target {name} needs {sdk.name}, which is not installed here; {sdk.install}"
        )
    backend: Backend = importlib.import_module(target.module).Backend(**options)
    return backend
