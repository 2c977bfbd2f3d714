"""A file to sign, and keys without a password to sign it with."""

from pathlib import Path

import pytest


@pytest.fixture
def new_key(tmp_path):
    """Return a function that makes a pair of keys of a name, and returns the secret one."""
    from mobile.trust.keys import make_keys, read_secret_key

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
