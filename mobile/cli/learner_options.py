"""Options of a learner's kind and of its training, and what they build."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, get_args

import click

from cbpnet.backbone.presets import Preset
from cbpnet.host.errors import InputError
from cbpnet.method.config import AdaptationKind, LearnerConfig, ReadoutKind
from mobile.cli.option_groups import option
from mobile.cli.parameters import Choice

if TYPE_CHECKING:
    from cbpnet.run.training import TrainingConfig

__all__ = ["FeatureOptions", "KeepOptions", "LearnerOptions", "TrainingOptions"]

_ADAPTATION: AdaptationKind = "auto"


@dataclass(frozen=True)
class FeatureOptions:
    """What a one-pass learner counts of an image."""

    features: str | None = option(
        "--features",
        metavar="NAME,...",
        help="What a one-pass learner counts of an image, pooled first: patches, block9, "
        "logits1000, random1000 (or other numbers); default: pooled and three blocks.",
    )

    def counting(self, config: LearnerConfig) -> LearnerConfig:
        """Return a learner's settings with the features that were asked for."""
        names = self._names()
        return config if names is None else replace(config, features=names)

    def _names(self) -> tuple[str, ...] | None:
        if self.features is None:
            return None
        return tuple(name.strip() for name in self.features.split(","))


@dataclass(frozen=True)
class LearnerOptions(FeatureOptions):
    """Which learner it is."""

    adaptation: AdaptationKind | None = option(
        "--adaptation",
        type=Choice(get_args(AdaptationKind)),
        help="When lessons adapt the features: auto where one needs it, on the first alone, always "
        f"or never; cbpnet is the paper's learner. Default: {_ADAPTATION}.",
    )
    readout: ReadoutKind | None = option(
        "--readout",
        type=Choice(["means", "rls", "whitened"]),
        help="The closed-form classifier; default: whitened, with cbpnet rls.",
    )

    def config(self, preset: Preset) -> LearnerConfig:
        """Return the settings of the learner on a preset's backbone.

        Raises:
            InputError: a feature does not exist, or an option is for the other kind of learner.
        """
        config = self.counting(preset.config(self.adaptation or _ADAPTATION))
        if self.readout is None:
            return config
        return replace(config, readout=replace(config.readout, kind=self.readout))

    def check_state(self, config: LearnerConfig) -> None:
        """Raise `InputError` where an option asks for other settings than a state's own."""
        own = {
            "adaptation": (self.adaptation, config.adaptation.kind),
            "readout": (self.readout, config.readout.kind),
            "features": (self._names(), config.features),
        }
        for name, (asked, found) in own.items():
            if asked not in (None, found):
                raise InputError(
                    f"the state was learnt with {name} {_shown(found)}, and --{name} asks for "
                    f"{_shown(asked)}; leave it out: a state keeps its settings"
                )


@dataclass(frozen=True)
class TrainingOptions:
    """How the images of a lesson are trained on."""

    epochs: int | None = option(
        "--epochs",
        type=click.IntRange(min=1),
        help="Passes over the images of a lesson that trains; default: the learner's own.",
    )
    batch_size: int = option(
        "--batch-size", type=click.IntRange(min=1), default=10, show_default=True, help="Per step."
    )
    flip: bool = option(
        "--flip/--no-flip",
        default=False,
        show_default=True,
        help="Mirror half of the images in each epoch: not for signs and letters.",
    )

    def training(self, config: LearnerConfig) -> "TrainingConfig":
        """Return how a learner is trained."""
        from cbpnet.run.training import TrainingConfig

        return TrainingConfig.of(config, self.epochs, self.batch_size, self.flip)

    def conditions(self) -> dict[str, object]:
        """Return what a report says of the training."""
        return {
            "epochs": self.epochs or "the learner's own",
            "batch": self.batch_size,
            "mirrored": self.flip,
        }


@dataclass(frozen=True)
class KeepOptions:
    """What a one-pass learner keeps of the images."""

    keep: int = option(
        "--keep",
        type=click.IntRange(min=0),
        default=0,
        show_default=True,
        help="Pictures of each class that a one-pass learner keeps for later adaptations.",
    )

    def conditions(self) -> dict[str, object]:
        """Return what a report says of kept pictures."""
        return {"kept pictures a class": self.keep}


def _shown(value: object) -> str:
    return ",".join(value) if isinstance(value, tuple) else str(value)
