"""``cbpnet-mobile rename``: a class under another name."""

import click

from mobile.cli.bundle_options import BundleOptions
from mobile.cli.correction import CorrectionOptions
from mobile.cli.option_groups import takes

__all__ = ["rename"]


@click.command(
    epilog="""\b
Example:
  cbpnet-mobile rename pets.pte rex Rexie --state pets.safetensors
"""
)
@takes(bundle=BundleOptions, files=CorrectionOptions)
@click.argument("label", metavar="CLASS")
@click.argument("new", metavar="NAME")
def rename(bundle: BundleOptions, files: CorrectionOptions, label: str, new: str) -> None:
    """Give a class another name."""
    files.correct(bundle, lambda learner: learner.rename(label, new))
