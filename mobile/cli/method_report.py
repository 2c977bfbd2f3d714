"""What the commands that compare methods write and print."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from cbpnet.run.metrics import RunResult

__all__ = ["report_methods"]


def report_methods(
    results: "Sequence[RunResult]",
    conditions: dict[str, object],
    seeds: Sequence[int],
    folder: Path,
    as_json: bool,
) -> None:
    """Write the report of all runs into a folder, and print its table, or its summary as JSON."""
    from cbpnet.run.metrics import summarise
    from cbpnet.study.comparison_report import format_table, write_report

    written = write_report(results, {**conditions, "seeds": list(seeds)}, folder)
    if as_json:
        click.echo(json.dumps(json.loads((folder / "results.json").read_text())["summary"]))
        return
    click.echo(format_table(summarise(results)))
    click.echo(f"seeds: {', '.join(map(str, seeds))}")
    click.echo(f"wrote {len(written)} files to {folder}; start with {folder / 'table.md'}")
