"""``cbpnet-mobile trust``: whose bundles are trusted here."""

import json
from pathlib import Path

import click
from tabulate import tabulate

from cbpnet.host.text import printable
from mobile.cli.parameters import FilePath
from mobile.cli.signing import signed_json, signed_text

__all__ = ["trust"]


@click.command(
    epilog="""\b
Examples:
  cbpnet-mobile trust pets.pte --key maker.pub
  cbpnet-mobile trust --list
"""
)
@click.argument("bundle", type=FilePath(), required=False)
@click.option(
    "--key",
    metavar="PUB",
    help="The public key that has to have signed it: a .pub file, or the key itself; default: the "
    "one that the signature names.",
)
@click.option("--list", "listing", is_flag=True, help="List whose bundles are trusted.")
@click.option(
    "--forget", "forgetting", is_flag=True, help="Forget the bundle's key: the next one is trusted."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def trust(
    bundle: Path | None, key: str | None, listing: bool, forgetting: bool, as_json: bool
) -> None:
    """Accept who signed a bundle, or say whose bundles are trusted here.

    A command that opens a bundle trusts the first key that signed it, and refuses another key, or
    none, at the same path later. This command accepts what stands there now.
    """
    if listing == (bundle is not None):
        raise click.UsageError("name a bundle, or --list")
    if key is not None and (listing or forgetting):
        raise click.UsageError("--key is for accepting a bundle, not for --list and --forget")
    if bundle is None:
        _list(as_json)
    elif forgetting:
        _forget(bundle, as_json)
    else:
        _accept(bundle, key, as_json)


def _list(as_json: bool) -> None:
    from mobile.trust.known_keys import known_keys

    rows = [
        {"bundle": bundle, "key": found.key, "since": found.since}
        for bundle, found in known_keys().items()
    ]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    elif rows:
        click.echo(tabulate([map(printable, row.values()) for row in rows], list(rows[0]), "plain"))
    else:
        click.echo("no bundle that was opened here had a signature")


def _forget(bundle: Path, as_json: bool) -> None:
    from mobile.trust.known_keys import forget

    was = forget(bundle)
    if as_json:
        click.echo(json.dumps({"bundle": str(bundle), "forgotten": was}, indent=2))
    else:
        click.echo(f"{bundle}: {'its key is forgotten' if was else 'no key was remembered'}")


def _accept(bundle: Path, key: str | None, as_json: bool) -> None:
    from mobile.trust.first_use import accept

    public = None
    if key is not None:
        from mobile.trust.keys import read_public_key

        public = read_public_key(key)
    signed = accept(bundle, public)
    if as_json:
        found = None if signed is None else signed_json(signed)
        click.echo(json.dumps({"bundle": str(bundle), "signature": found}, indent=2))
    elif signed is None:
        click.echo(f"{bundle} has no signature, and is trusted without one")
    else:
        click.echo(f"{bundle} is trusted, {signed_text(signed)}")
