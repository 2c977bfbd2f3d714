"""``cbpnet-mobile demo``: the main job, offline, on scikit-learn's digits."""

from pathlib import Path

import click

from mobile.cli.parameters import FilePath

__all__ = ["demo"]


@click.command(
    epilog="""\b
Example:
  cbpnet-mobile demo --out demo_output
"""
)
@click.option(
    "--out",
    type=FilePath(file_okay=False),
    default=Path("demo_output"),
    show_default=True,
    help="Folder for weights, bundle, state, pictures, table, plots and page.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
def demo(out: Path, seed: int) -> None:
    """Export a network that knows the digits 0 to 4, and let the program learn 5 to 9.

    Trains a micro ViT on digits 0 to 4, exports it to XNNPACK in int8, and lets the exported
    program learn the other digits from a few images each, through the ExecuTorch runtime. Shows the
    same in PyTorch, and the closed-form heads, on the same images. Nothing is downloaded.
    """
    from mobile.cli.digits_demo import run_demo

    run_demo(out, seed)
