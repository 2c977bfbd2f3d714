"""``cbpnet-mobile history``: what a state was taught, and how it was corrected."""

import click
from tabulate import tabulate

from mobile.cli.bundle_options import BundleOptions
from mobile.cli.correction import event_json, event_sentence, event_time
from mobile.cli.option_groups import takes
from mobile.cli.options import print_json
from mobile.cli.state_options import FoundStateOptions

__all__ = ["history"]


@click.command(
    epilog="""\b
Example:
  cbpnet-mobile history pets.pte --state pets.safetensors
"""
)
@takes(bundle=BundleOptions, files=FoundStateOptions)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def history(bundle: BundleOptions, files: FoundStateOptions, as_json: bool) -> None:
    """List the lessons and corrections of a state, the oldest first.

    `undo` takes back the last one that is in force.
    """
    journal = bundle.learner(files.find(bundle.path)).journal
    if journal is None:
        raise click.ClickException("a bundle with tasks keeps no journal")
    rows = []
    for number, event in enumerate(journal.events):
        kept = "settled" if number < journal.settled else "in force"
        rows.append((number + 1, event, kept if number < journal.head else "undone"))
    if as_json:
        found = [event_json(event) | {"number": n, "is": state} for n, event, state in rows]
        print_json(found)
        return
    click.echo(
        tabulate(
            [(n, event_time(event)[:16], state, event_sentence(event)) for n, event, state in rows],
            ("", "when (UTC)", "is", "what"),
            "plain",
        )
    )
    click.echo(
        f"the journal keeps {journal.bytes / 1e6:.2f} of at most {journal.limit / 1e6:.1f} MB"
    )
