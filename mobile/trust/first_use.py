"""Trust on first use: a bundle's path is bound to the first key that signed what stands there.

What never had a signature is used as it is. Where a path is bound to a key, only what that key
signed is used there, until a person says otherwise.
"""

import os
import shlex
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from cbpnet.host.errors import InputError
from mobile.trust.known_keys import forget, known_key, remember
from mobile.trust.sidecar import signature_path

if TYPE_CHECKING:
    from minisign import PublicKey

    from mobile.trust.signatures import Signed

__all__ = ["accept", "check_first_use"]


def check_first_use(bundle: Path, say: Callable[[str], object]) -> None:
    """Refuse a bundle that is signed wrongly, or otherwise than the one before it was.

    Args:
        bundle: its path, to which the key is bound.
        say: is told in a sentence which key is trusted from now on.

    Raises:
        InputError: the signature does not verify, or cannot be verified here; or the path is bound
            to a key and the bundle has no signature, or another's.
    """
    known = known_key(bundle)
    if not os.path.lexists(signature_path(bundle)):
        if known is not None and bundle.exists():
            raise InputError(
                f"{bundle} has no signature, and what stood there before was signed by {known}; "
                f"use a signed bundle, or accept this one with `{_accepting(bundle)}`"
            )
        return
    signed = _verified(bundle, known)
    if known is None:
        remember(bundle, signed.key, None)
        say(
            f"{bundle} is signed by {signed.key}, which is trusted from now on for this path; "
            "compare it with what its maker says"
        )


def accept(bundle: Path, key: "PublicKey | None") -> "Signed | None":
    """Bind a bundle's path to what stands there now; return its signature, None where it has none.

    Args:
        bundle: its path.
        key: the one that has to have signed it; None is the one that its signature names, or, of a
            bundle without a signature, none.

    Raises:
        InputError: the signature does not verify, or there is none and a key was given.
    """
    if key is None and not os.path.lexists(signature_path(bundle)):
        if not bundle.exists():
            raise InputError(f"there is no {bundle}; name a bundle")
        forget(bundle)
        return None
    _check_installed(bundle)
    from mobile.trust.signatures import named_key, verify

    signed = verify(bundle, [named_key(bundle) if key is None else key])
    remember(bundle, signed.key, known_key(bundle))
    return signed


def _verified(bundle: Path, known: str | None) -> "Signed":
    """Return a bundle's signature, by the key that is known or the one that it names itself."""
    _check_installed(bundle)
    from mobile.trust.keys import parse_public_key
    from mobile.trust.signatures import AnotherKeyError, named_key, verify

    if known is None:
        return verify(bundle, [named_key(bundle)])
    try:
        return verify(bundle, [parse_public_key(known)])
    except AnotherKeyError as error:
        raise InputError(
            f"{bundle} is signed by the key with the ID {error.key_id}, and what stood there "
            f"before by {known}; use a bundle that this one signed, or accept the new one with "
            f"`{_accepting(bundle)}`"
        ) from error


def _accepting(bundle: Path) -> str:
    return shlex.join(["cbpnet-mobile", "trust", str(bundle)])


def _check_installed(bundle: Path) -> None:
    if find_spec("minisign") is None:
        raise InputError(
            f"{bundle} is signed, and what verifies signatures is not installed here; "
            "pip install 'cbpnet-mobile[sign]' brings it"
        )
