"""``cbpnet-mobile keygen``: a pair of keys to sign with."""

import json
from pathlib import Path

import click

from mobile.cli.parameters import FilePath

__all__ = ["keygen"]


@click.command(
    epilog="""\b
Example:
  cbpnet-mobile keygen maker
"""
)
@click.argument("key", type=FilePath())
@click.option(
    "--no-password",
    is_flag=True,
    help="Leave the secret key unencrypted, so that who has the file can sign.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def keygen(key: Path, no_password: bool, as_json: bool) -> None:
    """Make a pair of keys: one signs bundles and states, the other tells that it did.

    KEY.key signs: keep it secret, and a copy of it safe. KEY.pub is for everybody whom bundles are
    given to. Both are Minisign's files. Neither replaces a file that is there.
    """
    from mobile.trust.keys import check_new, key_text, make_keys

    check_new(key)
    password = None
    if not no_password:
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    public = key_text(make_keys(key, password))
    if as_json:
        found = {"secret_key": f"{key}.key", "public_key": f"{key}.pub", "key": public}
        click.echo(json.dumps(found, indent=2))
        return
    click.echo(
        f"wrote {key}.key, which signs, and {key}.pub, which verifies:\n{public}\n"
        f"sign with it: cbpnet-mobile sign FILE --key {key}.key"
    )
