"""The signature beside a file: where it stands, and that it is never one of something else."""

from collections.abc import Callable
from pathlib import Path

from cbpnet.host.atomic import flush_folder, write_atomically
from cbpnet.host.errors import InputError

__all__ = ["Signing", "signature_path", "write_signed"]

Signing = Callable[[Path, bytes], bytes]  # the signature of what is to stand at a path


def signature_path(file: Path) -> Path:
    """Return where the signature of a file stands, which need not exist."""
    return file.with_name(f"{file.name}.minisig")


def write_signed(file: Path, content: bytes, sign: Signing | None) -> None:
    """Write a file, and its signature if there is who signs it.

    Whatever ends it, there is never a signature of anything else beside the file: the older
    signature goes first, the new one comes last.

    Raises:
        InputError: a file cannot be written.
    """
    beside = signature_path(file)
    signature = None if sign is None else sign(file, content)
    try:
        beside.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(
            f"cannot remove {beside}, the signature of an older file: {error.strerror}; "
            "name a file in a folder that can be written to"
        ) from error
    flush_folder(file.parent)
    write_atomically(file, content)
    if signature is not None:
        write_atomically(beside, signature)
