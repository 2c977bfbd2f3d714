"""Which programs this host has tried, so that each is tried once.

They are kept as digests in a file of the user's cache folder. What cannot be read there counts as
nothing, and what cannot be written is tried again the next time.
"""

import hashlib
import json
import os
import re
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from cbpnet.host.atomic import write_atomically
from cbpnet.host.errors import InputError
from mobile.device.bundle import Bundle
from mobile.device.engines.engine import Engine

__all__ = ["is_verified", "remember", "verification_key"]

_CHECKER = 1  # raised where checks or trial become stricter: all is then checked again
_MOST = 1000  # digests that are kept, the latest
_DIGEST = re.compile("[0-9a-f]{64}")


def verification_key(bundle: Bundle, engine: Engine) -> str:
    """Return a digest of all that check and trial go by: the program, what it is said to be, and
    the versions of checker and engine.
    """
    manifest = asdict(bundle.manifest)
    said = {name: manifest[name] for name in ("target", "config", "limits", "methods")}
    versions = [_CHECKER, engine.name, engine.versions]
    text = json.dumps([bundle.program_sha256.hex(), said, versions], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def is_verified(key: str) -> bool:
    """Return whether a key was remembered here."""
    return key in _remembered()


def remember(key: str) -> None:
    """Remember a key, if it can be."""
    path = _file()
    kept = [*(other for other in _remembered() if other != key), key][-_MOST:]
    with suppress(OSError, InputError):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_atomically(path, "".join(f"{each}\n" for each in kept).encode())
        path.chmod(0o600)


def _remembered() -> list[str]:
    """Return the keys, the latest last; none where the file is damaged, or others may write it."""
    try:
        with _file().open("rb") as file:
            status = os.fstat(file.fileno())
            if status.st_uid != os.geteuid() or status.st_mode & 0o022:
                return []
            lines = file.read(65 * _MOST + 1).decode("ascii").splitlines()
    except (OSError, ValueError):
        return []
    whole = len(lines) <= _MOST and all(map(_DIGEST.fullmatch, lines))
    return lines if whole else []


def _file() -> Path:
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    folder = given if given.is_absolute() else Path.home() / ".cache"
    return folder / "cbpnet-mobile" / "verified"
