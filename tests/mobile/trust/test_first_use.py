"""Whose bundle is used: the first key's at a path, until a person accepts another."""

import builtins
import shutil

import pytest

pytest.importorskip("minisign")

from cbpnet.host.errors import InputError
from mobile.trust import first_use
from mobile.trust.first_use import accept, check_first_use
from mobile.trust.keys import key_text, read_public_key
from mobile.trust.known_keys import known_key, remember
from mobile.trust.sidecar import signature_path
from mobile.trust.signatures import sign_file

from .made_by_minisign import PUBLIC, SIGNATURE


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def maker(new_key):
    return new_key("maker")


def public(key):
    return key_text(key.get_public_key())


def check(bundle):
    """Return what is said of a bundle that is used."""
    said = []
    check_first_use(bundle, said.append)
    return said


def test_what_never_had_a_signature_is_used_and_nothing_is_written(file, home):
    assert check(file) == []
    assert not home.exists()


def test_the_first_key_is_said_and_remembered(file, maker):
    sign_file(file, maker)
    (said,) = check(file)
    assert f"is signed by {public(maker)}, which is trusted from now on for this path" in said
    assert check(file) == []
    assert known_key(file) == public(maker)


def test_the_same_key_may_sign_what_comes_later(file, maker):
    sign_file(file, maker)
    check(file)
    file.write_bytes(b"a later bundle")
    sign_file(file, maker)
    assert check(file) == []


@pytest.mark.parametrize("used_before", [False, True])
def test_a_wrong_signature_is_refused_always(file, maker, used_before, home):
    sign_file(file, maker)
    if used_before:
        check(file)
    file.write_bytes(b"something else")
    with pytest.raises(InputError, match=r"pets\.pte is not what .*minisig was made for"):
        check(file)
    assert home.exists() == used_before


def test_another_key_is_refused_until_it_is_accepted(file, maker, new_key):
    sign_file(file, maker)
    check(file)
    other = new_key("other")
    sign_file(file, other)
    with pytest.raises(
        InputError, match=r"signed by the key with the ID .* before by RW"
    ) as refused:
        check(file)
    assert f"`cbpnet-mobile trust {file}`" in str(refused.value)
    assert accept(file, None).key == public(other)
    assert check(file) == []
    assert known_key(file) == public(other)


def test_no_signature_is_refused_until_it_is_accepted(file, maker):
    sign_file(file, maker)
    check(file)
    signature_path(file).unlink()
    with pytest.raises(InputError, match=r"has no signature, .* accept this one with `cbpnet-mob"):
        check(file)
    assert accept(file, None) is None
    assert check(file) == []


def test_another_path_is_another_bundle(file, maker, new_key):
    sign_file(file, maker)
    check(file)
    other = file.with_name("other.pte")
    shutil.copy(file, other)
    assert check(other) == []
    sign_file(other, new_key("other"))
    assert len(check(other)) == 1


def test_a_key_that_was_given_is_asked_for(file, maker, new_key):
    """Before the first use, so that nothing is taken on trust."""
    other = new_key("other")
    sign_file(file, other)
    with pytest.raises(InputError, match="use a file that its owner signed"):
        accept(file, maker.get_public_key())
    assert known_key(file) is None
    sign_file(file, maker)
    assert accept(file, maker.get_public_key()).key == public(maker)
    assert check(file) == []


def test_a_key_that_was_given_needs_a_signature(file, maker):
    with pytest.raises(InputError, match="has no signature"):
        accept(file, maker.get_public_key())


def test_what_minisign_signed_needs_its_key_once(file):
    signature_path(file).write_bytes(SIGNATURE)
    with pytest.raises(InputError, match="does not tell its public key"):
        check(file)
    accept(file, read_public_key(PUBLIC))
    assert check(file) == []


def test_a_file_with_the_name_of_a_key_is_no_key(file, maker, new_key, monkeypatch):
    """Else who can write to the working directory would choose whom to trust."""
    sign_file(file, maker)
    check(file)
    other = new_key("other")
    monkeypatch.chdir(file.parent)
    name = public(maker)
    if "/" not in name:
        shutil.copy("other.pub", name)
    sign_file(file, other)
    with pytest.raises(InputError, match="signed by the key with the ID"):
        check(file)


def test_without_the_package_what_is_signed_is_refused(file, maker, monkeypatch):
    sign_file(file, maker)
    monkeypatch.setattr(first_use, "find_spec", {}.get)
    for asked in (lambda: check(file), lambda: accept(file, None)):
        with pytest.raises(InputError, match=r"pip install 'cbpnet-mobile\[sign\]' brings it"):
            asked()


def test_a_bundle_that_is_missing_is_left_to_who_opens_it(file):
    remember(file, PUBLIC, None)
    file.unlink()
    assert check(file) == []
    with pytest.raises(InputError, match=r"there is no .*pets\.pte"):
        accept(file, None)


def test_an_unsigned_bundle_costs_no_cryptography(file, monkeypatch):
    real = builtins.__import__

    def imported(name, *rest, **named):
        assert not name.startswith(("minisign", "mobile.trust.signatures"))
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", imported)
    assert check(file) == []
