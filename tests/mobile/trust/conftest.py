"""Keys without a password, of which two make and one does not."""

from pathlib import Path

import pytest

pytest.importorskip("minisign")

from mobile.trust.keys import make_keys, read_secret_key


@pytest.fixture
def new_key(tmp_path):
    """Return a function that makes a pair of keys of a name, and returns the secret one."""

    def make(name):
        make_keys(tmp_path / name, None)
        return read_secret_key(tmp_path / f"{name}.key", pytest.fail)

    return make


@pytest.fixture
def file(tmp_path) -> Path:
    """A file to sign."""
    path = tmp_path / "pets.pte"
    path.write_bytes(b"a bundle")
    return path
