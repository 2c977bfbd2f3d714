"""Signatures of files: Minisign's `FILE.minisig` beside `FILE`, over its BLAKE2b-512.

The trusted comment, which is signed too, tells when and as what a file was signed, and by which
key: `timestamp:1795784701`, `file:pets.pte`, `hashed` and `key:RWQ...`, between tabs. Minisign
writes all but the last, without which nobody can verify a file who has not been given the key.
"""

import base64
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from minisign import Error, PublicKey, SecretKey, Signature, VerifyError

from cbpnet.host.atomic import write_atomically
from cbpnet.host.errors import InputError
from mobile.trust.keys import key_text, parse_public_key
from mobile.trust.sidecar import signature_path

__all__ = ["AnotherKeyError", "Signed", "named_key", "sign_content", "sign_file", "verify"]

_LARGEST = 1 << 14  # bytes of a signature file; Minisign's trusted comment has half of that
_KEY_ID = slice(2, 10)  # of what a line of base64 holds, after the algorithm


class AnotherKeyError(InputError):
    """A signature is by none of the keys that were asked for; ``key_id`` is that of its own."""

    def __init__(self, key_id: str, sentence: str) -> None:
        super().__init__(sentence)
        self.key_id = key_id


@dataclass(frozen=True)
class Signed:
    """What is known of a file whose signature is right.

    ``key`` is the public key, as in its file. ``time`` is when its holder says to have signed it,
    and ``comment`` the whole trusted comment.
    """

    key: str
    time: datetime | None
    comment: str


def sign_file(file: Path, key: SecretKey) -> Signed:
    """Sign a file, and write the signature beside it in place of an older one.

    Raises:
        InputError: the file cannot be read, or the signature cannot be written.
    """
    comment = _comment(file, key)
    try:
        with file.open("rb") as content:
            signature = key.sign(content, trusted_comment=comment)
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}; name a file to sign") from error
    write_atomically(signature_path(file), bytes(signature) + b"\n")
    return _signed(signature, key.get_public_key())


def sign_content(file: Path, content: bytes, key: SecretKey) -> bytes:
    """Return the signature file of a file that is yet to be written."""
    return bytes(key.sign(content, trusted_comment=_comment(file, key))) + b"\n"


def verify(file: Path, keys: Sequence[PublicKey]) -> Signed:
    """Verify a file by the signature beside it, which one of the ``keys`` has to have made.

    Raises:
        AnotherKeyError: none of the keys made it.
        InputError: there is no signature, it cannot be read, or the file is not what was signed.
    """
    path, signature = signature_path(file), _read(file)
    made_by = _key_id(bytes(signature).splitlines()[1])
    fitting = [key for key in keys if _key_id(key.to_base64()) == made_by]
    if not fitting:
        right = " or ".join(f"{_key_id(key.to_base64())} ({key_text(key)})" for key in keys)
        raise AnotherKeyError(
            made_by,
            f"{path} is by the key with the ID {made_by}, and right would be {right}; use a file "
            "that its owner signed",
        )
    for key in fitting:
        try:
            with file.open("rb") as content:
                key.verify(content, signature)
        except VerifyError:
            continue
        except OSError as error:
            raise InputError(
                f"{file} cannot be read: {error.strerror}; name a file that was signed"
            ) from error
        return _signed(signature, key)
    raise InputError(
        f"{file} is not what {path} was made for: one of them was changed since; use an intact "
        "copy of both, or have it signed again"
    )


def named_key(file: Path) -> PublicKey:
    """Return the key that the signature of a file names itself, which anybody can have written.

    Raises:
        InputError: there is no signature, it cannot be read, or it names no key.
    """
    path, signature = signature_path(file), _read(file)
    try:
        return parse_public_key(_comment_fields(signature.trusted_comment).get("key", ""))
    except InputError as error:
        raise InputError(
            f"{path} does not tell its public key, which has the ID "
            f"{_key_id(bytes(signature).splitlines()[1])}; name the key that you were given"
        ) from error


def _read(file: Path) -> Signature:
    path = signature_path(file)
    if not os.path.lexists(path):
        raise InputError(
            f"{file} has no signature: {path} does not exist; "
            "its owner makes one with `cbpnet-mobile sign`"
        )
    try:
        if not path.is_file():
            raise InputError(f"{path} is no file; put the signature of {file} there")
        with path.open("rb") as content:
            signature = Signature.from_bytes(content.read(_LARGEST))
    except OSError as error:
        raise InputError(
            f"{path} cannot be read: {error.strerror}; right would be the signature of {file}"
        ) from error
    except Error as error:
        raise InputError(
            f"{path} is no signature in Minisign's format ({error}); use an intact copy"
        ) from error
    if not signature.is_prehashed():
        raise InputError(
            f"{path} is in Minisign's old form, over the whole file; sign {file} again, with "
            "Minisign 0.10 or later or `cbpnet-mobile sign`"
        )
    return signature


def _comment(file: Path, key: SecretKey) -> str:
    name = file.name.encode("unicode_escape").decode()  # Minisign's comments are in ASCII
    public = key_text(key.get_public_key())
    return f"timestamp:{int(time.time())}\tfile:{name}\thashed\tkey:{public}"


def _signed(signature: Signature, key: PublicKey) -> Signed:
    comment, found = signature.trusted_comment, None
    with suppress(ValueError, OverflowError, OSError):
        found = datetime.fromtimestamp(int(_comment_fields(comment).get("timestamp", "")), UTC)
    return Signed(key_text(key), found, comment)


def _comment_fields(comment: str) -> dict[str, str]:
    pairs = (part.partition(":") for part in comment.split("\t"))
    return {name: value for name, _, value in pairs}


def _key_id(line: bytes) -> str:
    """Return the key's ID in a line of a signature or a public key, as Minisign prints it."""
    return base64.b64decode(line)[_KEY_ID][::-1].hex().upper()
