"""``cbpnet-mobile presets``: the presets and what each trains."""

import json
from dataclasses import asdict
from typing import Any

import click

from cbpnet.backbone.presets import BUDGET, PRESETS, Preset, count_trainables
from cbpnet.host.tables import plain_table
from cbpnet.method.config import AdaptationKind, LearnerConfig

__all__ = ["presets"]

_LEARNERS: dict[str, AdaptationKind] = {"one-pass": "auto", "cbpnet": "cbpnet"}
_SIZES = ("G layers", "G", "E", "hidden", "trainable", "share %", "budget %")


@click.command(
    epilog="""\b
Example:
  cbpnet-mobile presets --json
"""
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with every setting.")
def presets(as_json: bool) -> None:
    """List the presets: backbone, both learners, and how much of it is trained."""
    if as_json:
        rows = {name: _describe(preset) for name, preset in PRESETS.items()}
        click.echo(json.dumps(rows, indent=2))
        return
    table = [
        _row(name, learner, preset) for name, preset in PRESETS.items() for learner in _LEARNERS
    ]
    click.echo(plain_table(("preset", "backbone", "learner", *_SIZES), table, words=3))
    click.echo(
        "\nG and E are the prompts' lengths, hidden the block's units. Trainable are the G-prompt,"
        "\nand of cbpnet one task's E-prompt and key, and the block; share and budget are in per"
        "\ncent of the backbone's parameters; the head counts in neither."
    )
    for name, preset in PRESETS.items():
        if preset.budget > BUDGET:
            click.echo(
                f"{name} is for tests and the demo and has a budget of its own: nothing useful "
                f"fits into {100 * BUDGET:g} % of so small a backbone."
            )


def _row(name: str, learner: str, preset: Preset) -> list[str]:
    config = preset.config(_LEARNERS[learner])
    prompts, block = config.prompts, config.block
    found = count_trainables(config, preset.dim, preset.parameters)
    return [
        name,
        preset.backbone,
        learner,
        str(len(prompts.g_layers)),
        str(prompts.g_length),
        str(prompts.e_length) if prompts.e_layers else "-",
        str(block.hidden) if block else "-",
        f"{found.trainable:,}",
        f"{100 * found.share:.3f}",
        f"{100 * preset.budget:g}",
    ]


def _describe(preset: Preset) -> dict[str, Any]:
    return {
        "backbone": preset.backbone,
        "dim": preset.dim,
        "depth": preset.depth,
        "backbone_parameters": preset.parameters,
        "budget": preset.budget,
        "learners": {
            learner: _describe_learner(preset, preset.config(adaptation))
            for learner, adaptation in _LEARNERS.items()
        },
    }


def _describe_learner(preset: Preset, config: LearnerConfig) -> dict[str, Any]:
    found = count_trainables(config, preset.dim, preset.parameters)
    return {
        "trainable_parameters": found.trainable,
        "share": found.share,
        "config": asdict(config),
    }
