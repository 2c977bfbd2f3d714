"""``cbpnet-mobile presets``: the presets and what each trains."""

import json
from dataclasses import asdict
from typing import Any

import click
import torch

from cbpnet.backbone.presets import BUDGET, PRESETS, Preset, count_trainables
from cbpnet.backbone.vit import load_backbone

__all__ = ["presets"]

_ROW = "{:<11}{:<23}{:>4}{:>3}{:>3}{:>8}{:>11}{:>12}{:>9}{:>10}"


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with every setting.")
def presets(as_json: bool) -> None:
    """List the presets: backbone, sizes, and the share of the backbone that is trained."""
    rows = {name: _describe(preset) for name, preset in PRESETS.items()}
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    titles = ("dim", "G", "E", "hidden", "trainable", "parameters", "share %", "budget %")
    click.echo(_ROW.format("preset", "backbone", *titles))
    for name, row in rows.items():
        prompts, block = row["config"]["prompts"], row["config"]["block"]
        click.echo(
            _ROW.format(
                name,
                row["backbone"],
                row["dim"],
                prompts["g_length"],
                prompts["e_length"],
                block["hidden"],
                f"{row['trainable_parameters']:,}",
                f"{row['backbone_parameters']:,}",
                f"{100 * row['share']:.3f}",
                f"{100 * row['budget']:g}",
            )
        )
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


def _describe(preset: Preset) -> dict[str, Any]:
    # A model on the meta device has shapes and no memory.
    with torch.device("meta"):
        backbone = load_backbone(preset.backbone, pretrained=False)
    found = count_trainables(preset.config, backbone.dim, backbone.parameters_without_head)
    return {
        "backbone": preset.backbone,
        "dim": backbone.dim,
        "trainable_parameters": found.trainable,
        "backbone_parameters": found.backbone,
        "share": found.share,
        "budget": preset.budget,
        "config": asdict(preset.config),
        "preprocessing": asdict(backbone.preprocessing),
    }
