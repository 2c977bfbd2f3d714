"""The file that remembers which key signed the bundle at which path, `trusted_bundles.json`.

It stands in `cbpnet-mobile` under XDG_STATE_HOME, `~/.local/state` where that is not set, and is
its user's alone. Writers are kept apart by `flock` on its folder.
"""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from cbpnet.host.atomic import write_atomically
from cbpnet.host.dataclass_json import from_json
from cbpnet.host.errors import InputError

__all__ = ["KnownKey", "forget", "known_key", "known_keys", "remember"]

_FORMAT = "cbpnet-mobile trusted bundles, version 1"
_LARGEST = 1 << 20  # bytes
_MOST = 1000  # bundles


@dataclass(frozen=True)
class KnownKey:
    """The public key that a bundle's path is bound to, and since when, in ISO 8601."""

    key: str
    since: str


@dataclass(frozen=True)
class _File:
    format: str
    bundles: dict[str, KnownKey]


def known_keys() -> dict[str, KnownKey]:
    """Return the keys that are trusted here, by the bundles' resolved paths.

    Raises:
        InputError: the file cannot be read or is damaged.
    """
    path = _path()
    if not os.path.isdir(path.parent):  # noqa: PTH112  a service may not even look into homes
        return {}
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise InputError(
            f"{path}, which remembers whose bundles are trusted, cannot be read: {error.strerror}; "
            "make it readable"
        ) from error
    try:
        if len(content) > _LARGEST:
            raise ValueError(f"it has more than {_LARGEST:,} bytes")
        found = from_json(_File, json.loads(content.decode()))
        if found.format != _FORMAT:
            raise ValueError(f"its format is {found.format!r} and not {_FORMAT!r}")
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{path}, which remembers whose bundles are trusted, is damaged ({error}); put it "
            "right, or remove it to trust bundles anew"
        ) from error
    return found.bundles


def known_key(bundle: Path) -> str | None:
    """Return the key that a bundle's path is bound to, None where it never had one.

    Raises:
        InputError: as `known_keys`.
    """
    found = known_keys().get(_name(bundle))
    return None if found is None else found.key


def remember(bundle: Path, key: str, instead_of: str | None) -> None:
    """Bind a bundle's path to a key.

    Args:
        bundle: its path.
        key: the public key's text.
        instead_of: the key that it is bound to so far, None where to none.

    Raises:
        InputError: another program has bound it to something else meanwhile, there are too many
            bundles already, or the file cannot be read or written.
    """
    with _alone():
        found = known_keys()
        now = found.get(_name(bundle))
        if now is not None and now.key == key:
            return  # two programs have met it at once
        if (None if now is None else now.key) != instead_of:
            raise InputError(
                f"another program has changed whom {bundle} is trusted from; run the command again"
            )
        if now is None and len(found) >= _MOST:
            raise InputError(
                f"{_path()} remembers {len(found)} bundles, and has room for {_MOST}; let it "
                "forget some with `cbpnet-mobile trust --forget BUNDLE`"
            )
        since = datetime.now(UTC).isoformat(timespec="seconds")
        _write(found | {_name(bundle): KnownKey(key, since)})


def forget(bundle: Path) -> bool:
    """Let a bundle's path be bound to no key; return whether it was to one.

    Raises:
        InputError: the file cannot be read or written.
    """
    if known_key(bundle) is None:
        return False
    with _alone():
        found = known_keys()
        was = found.pop(_name(bundle), None)
        _write(found)
    return was is not None


def _path() -> Path:
    folder = os.environ.get("XDG_STATE_HOME", "")
    if not Path(folder).is_absolute():  # the specification has it left out of account then
        folder = os.path.expanduser("~/.local/state")  # noqa: PTH111  no error without a home
    return Path(folder) / "cbpnet-mobile" / "trusted_bundles.json"


def _name(bundle: Path) -> str:
    """Return a path whatever links lead there, in characters that JSON has."""
    return os.fsencode(bundle.resolve()).decode(errors="backslashreplace")


@contextmanager
def _alone() -> Iterator[None]:
    """Be the only one who changes the file."""
    folder = _path().parent
    try:
        if not folder.is_absolute():
            raise NotADirectoryError(0, "there is no home folder")
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)
    except OSError as error:
        raise InputError(
            f"whose bundles are trusted cannot be remembered in {folder}: {error.strerror}; set "
            "XDG_STATE_HOME to a folder that can be written to"
        ) from error


def _write(bundles: Mapping[str, KnownKey]) -> None:
    text = json.dumps(asdict(_File(_FORMAT, dict(bundles))), indent=2)
    write_atomically(_path(), text.encode())
    _path().chmod(0o600)
