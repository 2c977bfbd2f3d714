"""``cbpnet-mobile presets``: the presets and what each trains."""

import json

import click

from cbpnet.backbone import load_backbone
from cbpnet.presets import PRESETS, count_trainables

__all__ = ["presets"]


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with every setting.")
def presets(as_json: bool) -> None:
    """List the presets: backbone, sizes, and the share of the backbone that is trained."""
