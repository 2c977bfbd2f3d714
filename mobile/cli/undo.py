"""``cbpnet-mobile undo``: the last lesson or correction taken back."""

import click

from mobile.cli.bundle_options import BundleOptions
from mobile.cli.correction import CorrectionOptions
from mobile.cli.option_groups import takes

__all__ = ["undo"]


@click.command(
    epilog="""\b
Example:
  cbpnet-mobile undo pets.pte --state pets.safetensors
"""
)
@takes(bundle=BundleOptions, files=CorrectionOptions)
def undo(bundle: BundleOptions, files: CorrectionOptions) -> None:
    """Take back the last lesson or correction; again, the one before it."""
    files.correct(bundle, lambda learner: learner.undo(), said="undone: ", back="redo")
