"""Ed25519 keys as Minisign keeps them: `NAME.key`, which signs, and `NAME.pub`, which verifies."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from minisign import Error, KeyPair, PublicKey, SecretKey, VerifyError

from cbpnet.host.atomic import flush_folder
from cbpnet.host.errors import InputError

__all__ = [
    "check_new",
    "key_text",
    "make_keys",
    "parse_public_key",
    "read_public_key",
    "read_secret_key",
]

_LARGEST = 1 << 12  # bytes of a file with a key, which has two short lines
# scrypt's cost in libsodium's terms, N = 2^17, r = 8, p = 1, as OWASP advises: 128 MiB, which a
# board has too. Minisign itself takes 1 GiB; either reads the other's files.
_OPERATIONS, _MEMORY = 1 << 22, 1 << 27


def make_keys(name: Path, password: str | None) -> PublicKey:
    """Write a new pair of keys, `NAME.key` for its owner alone and `NAME.pub` for everybody.

    Args:
        name: the path of both files without their endings.
        password: encrypts the secret key with scrypt; None leaves it as it is.

    Raises:
        InputError: a file is there already or cannot be written; neither is then written.
    """
    check_new(name)
    pair = KeyPair.generate()
    if password is not None:
        pair.secret_key.encrypt(password, opslimit=_OPERATIONS, memlimit=_MEMORY)
    secret, public = _paths(name)
    _write_new(public, bytes(pair.public_key), 0o644)
    try:
        _write_new(secret, bytes(pair.secret_key), 0o600)
    except BaseException:
        public.unlink()
        raise
    return pair.public_key


def check_new(name: Path) -> None:
    """Raise `InputError` where a file of the name exists that `make_keys` would write."""
    for path in _paths(name):
        if os.path.lexists(path):
            raise InputError(
                f"{path} exists, and a key is not replaced; name another, or move it away"
            )


def read_secret_key(path: Path, ask: Callable[[], str]) -> SecretKey:
    """Read a secret key that is ready to sign.

    Args:
        path: a file that `make_keys` or Minisign wrote.
        ask: returns the password; called where the key is encrypted.

    Raises:
        InputError: the file cannot be read or holds no secret key, the password is another, or the
            two halves of the key do not belong together.
    """
    right = "name the .key file that `cbpnet-mobile keygen` or `minisign -G` wrote"
    try:
        key = SecretKey.from_bytes(_read(path, right))
    except Error as error:
        raise InputError(f"{path} holds no secret key ({error}); {right}") from error
    try:
        key.decrypt(ask() if key.is_encrypted() else "")
    except Error as error:
        raise InputError(f"the key {path} does not open: {error}") from error
    try:
        key.get_public_key().verify(b"", key.sign(b""))
    except VerifyError as error:
        raise InputError(
            f"the key {path} is damaged: what it signs, its own public key does not verify; use an "
            "intact copy"
        ) from error
    return key


def read_public_key(source: str) -> PublicKey:
    """Read a public key: the key itself, 56 characters from RW on, or the file that has it.

    Raises:
        InputError: it is neither.
    """
    right = "name a .pub file, or the key itself, the line in it that begins with RW"
    with suppress(InputError):
        return parse_public_key(source)
    try:
        return PublicKey.from_bytes(_read(Path(source), right))
    except Error as error:
        raise InputError(f"{source} holds no public key ({error}); {right}") from error


def parse_public_key(text: str) -> PublicKey:
    """Return a public key from its 56 characters, as `key_text` returns them.

    Raises:
        InputError: they are something else.
    """
    try:
        return PublicKey.from_base64(text)
    except ValueError as error:
        raise InputError(
            f"{text!r} is no public key ({error}); right would be 56 characters from RW on"
        ) from error


def key_text(key: PublicKey) -> str:
    """Return a public key as the 56 characters that stand in its file."""
    return key.to_base64().decode()


def _paths(name: Path) -> tuple[Path, Path]:
    return name.with_name(f"{name.name}.key"), name.with_name(f"{name.name}.pub")


def _read(path: Path, right: str) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_LARGEST)
    except OSError as error:
        raise InputError(f"the key {path} cannot be read: {error.strerror}; {right}") from error


def _write_new(path: Path, content: bytes, mode: int) -> None:
    """Write a file where there is none, whose ``mode`` it has from the first byte on."""
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except OSError as error:
        raise InputError(
            f"cannot write {path}: {error.strerror}; name a key in a folder that can be written to"
        ) from error
    try:
        with os.fdopen(file, "wb") as stream:
            stream.write(content + b"\n")
            stream.flush()
            os.fsync(file)
    except BaseException as error:
        with suppress(OSError):
            path.unlink()
        if isinstance(error, OSError):
            raise InputError(
                f"cannot write {path}: {error.strerror}; name a key in a folder with room"
            ) from error
        raise
    flush_folder(path.parent)
