"""``cbpnet-mobile presets``: the presets and what each trains."""

import json
from dataclasses import asdict
from typing import Any

import click

from cbpnet.backbone.presets import BUDGET, PRESETS, Preset, count_trainables
from cbpnet.host.tables import plain_table

__all__ = ["presets"]

_SIZES = ("dim", "G", "E", "hidden", "trainable", "parameters", "share %", "budget %")


@click.command(
    epilog="""\b
Example:
  cbpnet-mobile presets --json
"""
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with every setting.")
def presets(as_json: bool) -> None:
    """List the presets: backbone, sizes, and the share of the backbone that is trained."""
    if as_json:
        rows = {name: _describe(preset) for name, preset in PRESETS.items()}
        click.echo(json.dumps(rows, indent=2))
        return
    table = [_row(name, preset) for name, preset in PRESETS.items()]
    click.echo(plain_table(("preset", "backbone", *_SIZES), table, words=2))
    click.echo(
        "\nG and E are the prompts' lengths, hidden the block's units. Trainable are the G-prompt,"
        "\none task's E-prompt and key, and the block; share and budget are in per cent of the"
        "\nbackbone's parameters; the head counts in neither."
    )
    for name, preset in PRESETS.items():
        if preset.budget > BUDGET:
            click.echo(
                f"{name} is for tests and the demo and has a budget of its own: nothing useful "
                f"fits into {100 * BUDGET:g} % of so small a backbone."
            )


def _row(name: str, preset: Preset) -> list[str]:
    found = count_trainables(preset.config, preset.dim, preset.parameters)
    return [
        name,
        preset.backbone,
        str(preset.dim),
        str(preset.g_length),
        str(preset.e_length),
        str(preset.hidden),
        f"{found.trainable:,}",
        f"{found.backbone:,}",
        f"{100 * found.share:.3f}",
        f"{100 * preset.budget:g}",
    ]


def _describe(preset: Preset) -> dict[str, Any]:
    found = count_trainables(preset.config, preset.dim, preset.parameters)
    return {
        "backbone": preset.backbone,
        "dim": preset.dim,
        "trainable_parameters": found.trainable,
        "backbone_parameters": found.backbone,
        "share": found.share,
        "budget": preset.budget,
        "config": asdict(preset.config),
    }
