"""What the commands that sign and verify share."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cbpnet.host.text import printable
from mobile.cli.parameters import FilePath

if TYPE_CHECKING:
    from minisign import SecretKey

    from mobile.trust.sidecar import Signing
    from mobile.trust.signatures import Signed

__all__ = ["SECRET_KEY", "open_key", "signed_json", "signed_text", "signing", "verified"]

SECRET_KEY = FilePath(dir_okay=False)


def open_key(path: Path) -> "SecretKey":
    """Read a secret key, and ask for its password if it has one."""
    from mobile.trust.keys import read_secret_key

    return read_secret_key(
        path, lambda: click.prompt(f"Password of {path}", hide_input=True, err=True)
    )


def signing(path: Path) -> "Signing":
    """Return what signs with a secret key, whose password is asked for now if it has one."""
    from mobile.trust.signatures import sign_content

    return partial(sign_content, key=open_key(path))


def signed_json(signed: "Signed") -> dict[str, object]:
    """Return a signature for scripts."""
    return {
        "key": signed.key,
        "time": None if signed.time is None else signed.time.isoformat(),
        "trusted_comment": signed.comment,
    }


def signed_text(signed: "Signed") -> str:
    """Return a signature in words."""
    when = "" if signed.time is None else f" at {signed.time:%Y-%m-%d %H:%M} UTC"
    comment = printable(signed.comment.replace("\t", "  "))
    return f"signed by {signed.key}{when}\n  trusted comment: {comment}"


def verified(file: Path, source: str) -> "Signed":
    """Verify a file by a public key.

    Args:
        file: a bundle or a state.
        source: the key or the file that has it; "" is the one that is trusted for this path, else
            the one that the signature names.

    Raises:
        InputError: the file is not signed by that key, or is not what was signed.
    """
    from mobile.trust.keys import parse_public_key, read_public_key
    from mobile.trust.known_keys import known_key
    from mobile.trust.signatures import named_key, verify

    if source:
        return verify(file, [read_public_key(source)])
    known = known_key(file)
    return verify(file, [named_key(file) if known is None else parse_public_key(known)])
