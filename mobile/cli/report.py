"""``cbpnet-mobile report``: the results of boards, side by side on one page."""

from pathlib import Path

import click

from cbpnet.host.text import counted
from mobile.cli.parameters import FilePath

__all__ = ["report"]


@click.command(
    epilog="""\b
Examples:
  cbpnet-mobile report results
  cbpnet-mobile report results/pi4 results/pi5 results/zero --out boards.html
"""
)
@click.argument("results", type=FilePath(exists=True), nargs=-1, required=True)
@click.option(
    "--out",
    type=FilePath(dir_okay=False),
    default=Path("report.html"),
    show_default=True,
    help="Page to write; the same as JSON goes beside it.",
)
def report(results: tuple[Path, ...], out: Path) -> None:
    """Put the results of boards side by side on one page that needs no network.

    RESULTS are folders (or files) that latency, evaluate and learn --result wrote to; one folder
    for each board keeps boards of the same model apart.
    """
    from mobile.measure.board_report import collect, write_report

    if out.suffix == ".json":
        raise click.UsageError("--out names the page; its JSON goes beside it as FILE.json")
    entries = collect(results)
    written = write_report(entries, out)
    boards = {entry.board: None for entry in entries}
    count = f"{counted(len(entries), 'result')} of {counted(len(boards), 'board')}"
    click.echo(f"{count}: {'; '.join(boards)}")
    click.echo(f"wrote {written[0]} and {written[1]}; open {written[0]} in a browser")
