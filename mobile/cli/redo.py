"""``cbpnet-mobile redo``: what was undone, in force again."""

import click

from mobile.cli.bundle_options import BundleOptions
from mobile.cli.correction import CorrectionOptions
from mobile.cli.option_groups import takes

__all__ = ["redo"]


@click.command(
    epilog="""\b
Example:
  cbpnet-mobile redo pets.pte --state pets.safetensors
"""
)
@takes(bundle=BundleOptions, files=CorrectionOptions)
def redo(bundle: BundleOptions, files: CorrectionOptions) -> None:
    """Have what was undone last in force again."""
    files.correct(bundle, lambda learner: learner.redo(), said="done again: ")
