"""A file and its signature are never of two different times, whatever ends the writing."""

import itertools
from contextlib import suppress

import pytest

from cbpnet.host.errors import InputError
from mobile.trust import sidecar
from mobile.trust.sidecar import signature_path, write_signed


def reverse(path, content):
    """A signature that is easy to verify."""
    return content[::-1]


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "pets.pte"
    write_signed(path, b"old", reverse)
    return path


def test_a_signature_stands_beside_its_file(path):
    assert path.read_bytes() == b"old"
    assert signature_path(path) == path.with_name("pets.pte.minisig")
    assert signature_path(path).read_bytes() == b"dlo"


def test_without_a_signature_the_older_one_goes(path):
    write_signed(path, b"new", None)
    assert [each.name for each in path.parent.iterdir()] == ["pets.pte"]
    assert path.read_bytes() == b"new"


class Steps:
    """So many calls that change files, and then an end."""

    def __init__(self, number):
        self.left = number

    def __call__(self, function):
        def step(*given, **named):
            self.left -= 1
            if self.left < 0:
                raise KeyboardInterrupt
            return function(*given, **named)

        return step


def test_ended_at_any_step_the_signature_is_of_the_file_or_gone(path, monkeypatch):
    found = []
    for number in itertools.count():
        write_signed(path, b"old", reverse)
        steps = Steps(number)
        with monkeypatch.context() as patch, suppress(KeyboardInterrupt):
            patch.setattr(type(path), "unlink", steps(type(path).unlink))
            for name in ("flush_folder", "write_atomically"):
                patch.setattr(sidecar, name, steps(getattr(sidecar, name)))
            write_signed(path, b"new", reverse)
        there = signature_path(path).exists() and signature_path(path).read_bytes()
        found.append((path.read_bytes(), there))
        if steps.left >= 0:
            break
    bare = [(b"old", False), (b"old", False), (b"new", False)]
    assert found == [(b"old", b"dlo"), *bare, (b"new", b"wen")]


def test_what_cannot_be_signed_changes_nothing(path):
    def refuse(path, content):
        raise InputError("no")

    with pytest.raises(InputError, match="no"):
        write_signed(path, b"new", refuse)
    assert path.read_bytes() == b"old"
    assert signature_path(path).read_bytes() == b"dlo"


def test_an_older_signature_that_stays_keeps_the_file_old(path):
    signature_path(path).unlink()
    signature_path(path).mkdir()
    with pytest.raises(InputError, match=r"cannot remove .*the signature of an older file"):
        write_signed(path, b"new", None)
    assert path.read_bytes() == b"old"
