"""The methods that the benchmark compares, by name: ours, their ablations, and the peers."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cbpnet import study  # a face: what a method is built from is imported when it is built
from cbpnet.host.errors import InputError
from cbpnet.method.config import AdaptationKind, LearnerConfig, ReadoutKind
from cbpnet.run.metrics import MethodKind

if TYPE_CHECKING:
    from cbpnet.study.closed_form import Peer

__all__ = [
    "LEARNERS",
    "METHODS",
    "ONE_PASS",
    "PEERS",
    "VARIANTS",
    "LearnerMethod",
    "OnePassMethod",
    "PeerMethod",
    "adapting",
    "check_methods",
]


@dataclass(frozen=True)
class LearnerMethod:
    """A variant of the preset's CBPNet, and the readout that its scores are fused with.

    Methods with the same ``variant`` share one training run: a readout does not touch it.
    """

    variant: str
    readout: ReadoutKind = "none"


@dataclass(frozen=True)
class OnePassMethod:
    """The preset's one-pass learner with an adaptation, and the readout that is solved.

    Methods with the same adaptation, and the same ``anew``, share one run: a readout does not touch
    it. ``anew`` counts all statistics anew, from all images so far, after each adaptation: what
    carrying them over the drift could reach at most. No device has those images.
    """

    adaptation: AdaptationKind
    readout: ReadoutKind = "whitened"
    anew: bool = False


@dataclass(frozen=True)
class PeerMethod:
    """A classifier on the frozen query features: how it is built, and what it compares with."""

    build: "Callable[[int, int, int, int], Peer]"
    kind: MethodKind = MethodKind.CLOSED_FORM


def _dualprompt(config: LearnerConfig) -> LearnerConfig:
    """No block, and what it leaves of the budget spent on prompts of the released lengths."""
    return replace(config, block=None, prompts=replace(config.prompts, g_length=5, e_length=5))


def _without_cbp(config: LearnerConfig) -> LearnerConfig:
    return replace(config, cbp=replace(config.cbp, replacement_rate=0.0))


def _plain_block(config: LearnerConfig) -> LearnerConfig:
    """The block as first drawn: ReLU, trained by the cross-entropy at its own rate, added whole."""
    if config.block is None:
        return config
    return replace(
        config,
        block=replace(config.block, objective="classification", gate=1.0, activation="relu"),
        optimiser=replace(config.optimiser, block_lr=1e-4),
    )


VARIANTS: dict[str, Callable[[LearnerConfig], LearnerConfig]] = {
    "dualprompt": _dualprompt,
    "block-no-cbp": _without_cbp,
    "plain-block": _plain_block,
    "cbpnet": lambda config: config,
}

LEARNERS = {
    "dualprompt": LearnerMethod("dualprompt"),
    "dualprompt+rls": LearnerMethod("dualprompt", "rls"),
    "plain-block": LearnerMethod("plain-block"),
    "block-no-cbp": LearnerMethod("block-no-cbp"),
    "cbpnet": LearnerMethod("cbpnet"),
    "cbpnet+means": LearnerMethod("cbpnet", "means"),
    "cbpnet+rls": LearnerMethod("cbpnet", "rls"),
}

ONE_PASS = {
    "one-pass": OnePassMethod("auto"),
    "one-pass+means": OnePassMethod("auto", "means"),
    "one-pass+rls": OnePassMethod("auto", "rls"),
    "adapt-first": OnePassMethod("first"),
    "adapt-always": OnePassMethod("always"),
    "adapt-never": OnePassMethod("never"),
    "oracle": OnePassMethod("auto", anew=True),
}

# Each takes the feature size, the number of classes, the random projection's size and the seed.
PEERS = {
    "ncm": PeerMethod(lambda dim, classes, size, seed: study.NearestClassMean(dim, classes)),
    "ridge": PeerMethod(lambda dim, classes, size, seed: study.Ridge(dim, classes)),
    "ranpac": PeerMethod(lambda dim, classes, size, seed: study.RanPAC(dim, classes, size, seed)),
    "probe": PeerMethod(
        lambda dim, classes, size, seed: study.LinearProbe(dim, classes), MethodKind.UPPER_BOUND
    ),
}

METHODS = (*PEERS, *LEARNERS, *ONE_PASS)


def adapting(config: LearnerConfig, kind: AdaptationKind) -> LearnerConfig:
    """Return a one-pass learner's settings with another adaptation; "never" has no prompt."""
    prompts = config.prompts if kind != "never" else replace(config.prompts, g_layers=())
    return replace(config, adaptation=replace(config.adaptation, kind=kind), prompts=prompts)


def check_methods(names: Iterable[str]) -> None:
    """Raise `InputError` for a name that is not a method, naming those that are."""
    for name in names:
        if name not in METHODS:
            raise InputError(f"method {name!r} is unknown; it must be one of {', '.join(METHODS)}")
