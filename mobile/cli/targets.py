"""``cbpnet-mobile targets``: what a bundle can be exported for."""

import json
from dataclasses import asdict
from typing import Any

import click

from mobile.targets.catalogue import TARGETS, TORCH_FIRST, Target

__all__ = ["targets"]


@click.command(
    epilog="""\b
Example:
  cbpnet-mobile targets --json
"""
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def targets(as_json: bool) -> None:
    """List the targets of export: what each runs on, what was verified how."""
    rows = {name: _describe(target) for name, target in TARGETS.items()}
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    for name, row in rows.items():
        click.echo(f"{name}: {row['runs_on']}")
        click.echo(f"  precision: {' or '.join(row['precisions'])}")
        click.echo(f"  verified: {row['verified']}")
        click.echo(f"  needs: {', '.join(row['needs'])}")
        for option, described in row["options"].items():
            choices = " or ".join(described["choices"])
            click.echo(f"  --option {option}: {described['help']}; {choices}")
        click.echo(f"  installed here: {_missing(row) if row['missing'] else 'yes'}")


def _missing(row: dict[str, Any]) -> str:
    """Say what a target lacks here, and what brings it."""
    packages = row["install"] and f"{row['install']}, {TORCH_FIRST}"
    how = "; ".join(filter(None, [packages, row["install_sdk"]]))
    return f"no, it lacks {', '.join(row['missing'])}: {how}"


def _describe(target: Target) -> dict[str, Any]:
    sdk = target.missing_sdk
    missing = target.missing if sdk is None else [*target.missing, sdk.name]
    return {
        "runs_on": target.runs_on,
        "precisions": target.precisions,
        "verified": target.verified,
        "learns": target.learns,
        "options": {name: asdict(option) for name, option in target.options.items()},
        "needs": [target.package, *([] if target.sdk is None else [target.sdk.name])],
        "installed": not missing,
        "missing": missing,
        "install": target.install,
        "install_sdk": None if sdk is None else sdk.install,
    }
