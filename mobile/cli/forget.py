"""``cbpnet-mobile forget``: a class that is not known any more."""

import click

from mobile.cli.bundle_options import BundleOptions
from mobile.cli.correction import CorrectionOptions
from mobile.cli.option_groups import takes

__all__ = ["forget"]


@click.command(
    epilog="""\b
Example:
  cbpnet-mobile forget pets.pte tulip --state pets.safetensors
"""
)
@takes(bundle=BundleOptions, files=CorrectionOptions)
@click.argument("label", metavar="CLASS")
@click.option(
    "--for-good",
    is_flag=True,
    help="Have its features leave the journal; nothing so far can then be undone.",
)
def forget(bundle: BundleOptions, files: CorrectionOptions, label: str, for_good: bool) -> None:
    """Forget a class, as if it had never been taught.

    Its features stay in the journal, so that `undo` brings it back; kept pictures are dropped.
    """
    files.correct(
        bundle, lambda learner: learner.forget(label, for_good), back="" if for_good else "undo"
    )
