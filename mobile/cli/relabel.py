"""``cbpnet-mobile relabel``: pictures, or a whole class, that were taught under the wrong name."""

from pathlib import Path

import click

from cbpnet.data.folder import find_images
from mobile.cli.bundle_options import BundleOptions
from mobile.cli.correction import CorrectionOptions
from mobile.cli.option_groups import takes
from mobile.cli.parameters import FilePath

__all__ = ["relabel"]


@click.command(
    epilog="""\b
Examples:
  cbpnet-mobile relabel pets.pte photos/tulip/*.jpg --as rose --state pets.safetensors
  cbpnet-mobile relabel pets.pte --class tabby --as cat --state pets.safetensors
"""
)
@takes(bundle=BundleOptions, files=CorrectionOptions)
@click.argument("images", type=FilePath(), nargs=-1)
@click.option("--class", "label", help="Known class, all of whose images are meant.")
@click.option("--as", "new", required=True, help="Class that they are of, known or new.")
def relabel(
    bundle: BundleOptions,
    files: CorrectionOptions,
    images: tuple[Path, ...],
    label: str | None,
    new: str,
) -> None:
    """Make pictures that were taught, or all of a class, those of another class.

    Pictures are told by their content, so they must be those that were taught, from wherever they
    lie now; a folder stands for all pictures in it.
    """
    if bool(images) == (label is not None):
        raise click.UsageError("name the pictures, or the class with --class")
    if label is not None:
        files.correct(
            bundle,
            lambda learner: (
                learner.merge(label, new)
                if new in learner.class_names
                else learner.rename(label, new)
            ),
        )
        return
    found = [image for path in images for image in (find_images(path) if path.is_dir() else [path])]
    files.correct(bundle, lambda learner: learner.relabel(found, new))
