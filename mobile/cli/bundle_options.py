"""What the commands on a bundle share."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mobile.cli.option_groups import argument, option
from mobile.cli.options import print_note
from mobile.cli.parameters import Choice, FilePath, Megabytes
from mobile.device.engines.choice import ENGINES, use_engine

if TYPE_CHECKING:
    from mobile.device.program import Program
    from mobile.device.runtime import OnDeviceLearner

__all__ = ["BundleOptions", "TeachingOptions", "bundle_argument"]

_BUNDLE = FilePath()

bundle_argument = click.argument("bundle", type=_BUNDLE)


@dataclass(frozen=True)
class BundleOptions:
    """A bundle, and what it is run with."""

    path: Path = argument(type=_BUNDLE, metavar="BUNDLE")
    threads: int | None = option(
        "--threads",
        type=click.IntRange(min=1),
        help="ExecuTorch's threads; default: the fast cores that are free.",
    )
    engine: str | None = option(
        "--engine",
        type=Choice(ENGINES),
        help="What runs the bundle; default: the first of these that is installed.",
    )

    def program(self) -> "Program":
        """Open the bundle."""
        from mobile.device.program import Program

        self._prepare()
        return Program(self.path)

    def learner(
        self,
        state: Path | None,
        pictures: bool = False,
        say: Callable[[str], object] = print_note,
    ) -> "OnDeviceLearner":
        """Open the bundle, and the state to go on from if there is one, with its kept pictures."""
        from mobile.device.runtime import OnDeviceLearner

        self._prepare()
        return OnDeviceLearner(self.path, state, pictures, say)

    def _prepare(self) -> None:
        """Refuse a bundle that is not from whom it was before, and choose what runs it."""
        from mobile.device.program import set_threads
        from mobile.trust.first_use import check_first_use

        check_first_use(self.path, print_note)
        if self.engine is not None:
            use_engine(self.engine)
        if self.threads is not None:
            set_threads(self.threads)


@dataclass(frozen=True)
class TeachingOptions:
    """How a bundle is taught."""

    epochs: int | None = option(
        "--epochs",
        type=click.IntRange(min=1),
        help="Passes over the images; of a one-pass bundle where it adapts its features. Default: "
        "the bundle's.",
    )
    batch_size: int = option(
        "--batch-size", type=click.IntRange(min=1), default=10, show_default=True, help="Per step."
    )
    keep: int | None = option(
        "--keep",
        type=click.IntRange(min=0),
        help="Pictures of each class to keep beside the state, on which a one-pass bundle measures "
        "what an adaptation does to old classes; 0 drops them. Default: as before, 0 at first.",
    )

    journal: int | None = option(
        "--journal",
        type=Megabytes(),
        metavar="MB",
        help="How much a one-pass bundle's state keeps of its lessons, as features without "
        "pictures, so that they can be undone and corrected; `off` keeps nothing. Default: as "
        "before, 8.4 at first.",
    )

    def open(self, bundle: BundleOptions, state: Path | None) -> "OnDeviceLearner":
        """Open a bundle to teach it more than a state knows."""
        return bundle.learner(state, pictures=self.keep != 0)
