"""``cbpnet-mobile sign``: a signature beside a bundle or a state."""

import json
from pathlib import Path

import click

from mobile.cli.parameters import FilePath
from mobile.cli.signing import SECRET_KEY, open_key, signed_json

__all__ = ["sign"]


@click.command(
    epilog="""\b
Examples:
  cbpnet-mobile sign pets.pte --key maker.key
  minisign -Vm pets.pte -p maker.pub
"""
)
@click.argument("file", type=FilePath(dir_okay=False))
@click.option("--key", type=SECRET_KEY, required=True, help="The secret key, a .key file.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def sign(file: Path, key: Path, as_json: bool) -> None:
    """Sign a bundle or a state: the signature stands beside it.

    FILE.minisig is in Minisign's format and takes the place of an older one. A state that learns on
    is another file than the one that was signed: sign it when it is handed on.
    """
    from mobile.trust.sidecar import signature_path
    from mobile.trust.signatures import sign_file

    signed = sign_file(file, open_key(key))
    if as_json:
        found = {"file": str(file), "signature": str(signature_path(file))} | signed_json(signed)
        click.echo(json.dumps(found, indent=2))
    else:
        click.echo(f"wrote {signature_path(file)}, by {signed.key}")
