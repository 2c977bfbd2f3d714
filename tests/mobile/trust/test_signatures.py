"""Signatures, against RFC 8032 in plain Python and against what Minisign writes and verifies."""

import shutil
import subprocess
import time
from datetime import UTC, datetime

import pytest

pytest.importorskip("minisign")

from cbpnet.host.errors import InputError
from mobile.trust.keys import key_text, read_public_key
from mobile.trust.sidecar import signature_path
from mobile.trust.signatures import AnotherKeyError, named_key, sign_file, verify

from .made_by_minisign import CONTENT, OLD_SIGNATURE, OTHER_PUBLIC, PUBLIC, SIGNATURE
from .textbook import is_signed_as_minisign_does

THEIRS = read_public_key(PUBLIC)


@pytest.fixture
def theirs(file):
    """A file that Minisign signed."""
    assert file.read_bytes() == CONTENT
    signature_path(file).write_bytes(SIGNATURE)
    return file


def test_a_signature_is_what_the_standards_say(file, new_key, monkeypatch):
    key = new_key("maker")
    monkeypatch.setattr(time, "time", lambda: 1795784701.9)
    signed = sign_file(file, key)
    public = key_text(key.get_public_key())
    minisig = (file.parent / "pets.pte.minisig").read_bytes()
    assert is_signed_as_minisign_does(file.read_bytes(), minisig, public)
    assert not is_signed_as_minisign_does(file.read_bytes() + b".", minisig, public)
    assert is_signed_as_minisign_does(CONTENT, SIGNATURE, PUBLIC)
    assert signed == verify(file, [key.get_public_key()])
    assert signed.key == public
    assert signed.comment == f"timestamp:1795784701\tfile:pets.pte\thashed\tkey:{public}"
    assert signed.time == datetime(2026, 11, 27, 13, 5, 1, tzinfo=UTC)


@pytest.mark.skipif(shutil.which("minisign") is None, reason="needs the program minisign")
def test_minisign_verifies_ours_and_we_verify_its_own(file, new_key):
    key = new_key("maker")
    sign_file(file, key)
    asked = {"cwd": file.parent, "check": True, "capture_output": True, "text": True}
    result = subprocess.run(["minisign", "-HVm", file, "-p", "maker.pub"], **asked)
    assert "Signature and comment signature verified" in result.stdout
    subprocess.run(["minisign", "-S", "-s", "maker.key", "-m", file, "-t", "by hand"], **asked)
    assert verify(file, [key.get_public_key()]).comment == "by hand"


def test_what_minisign_signed_is_verified(theirs):
    signed = verify(theirs, [read_public_key(OTHER_PUBLIC), THEIRS])
    assert signed.key == PUBLIC
    assert signed.time == datetime(2026, 11, 27, 13, 14, 43, tzinfo=UTC)
    assert signed.comment == "timestamp:1795785283\tfile:bundle\thashed"


def test_each_changed_byte_of_the_file_is_found(theirs):
    for place in range(len(CONTENT)):
        changed = bytearray(CONTENT)
        changed[place] ^= 1
        theirs.write_bytes(changed)
        with pytest.raises(InputError, match=r"is not what .* was made for"):
            verify(theirs, [THEIRS])
    theirs.write_bytes(CONTENT[:-1])
    with pytest.raises(InputError, match=r"is not what .* was made for"):
        verify(theirs, [THEIRS])


def test_each_changed_character_of_the_signature_is_refused(theirs):
    """But for the untrusted comment, and the bits before a padding, which base64 has no use for."""
    begin = SIGNATURE.index(b"\n") + 1
    unused = {place - 1 for place, byte in enumerate(SIGNATURE) if byte == ord("=")}
    for place in set(range(begin, len(SIGNATURE) - 1)) - unused:
        changed = bytearray(SIGNATURE)
        changed[place] = ord("A") if changed[place] != ord("A") else ord("B")
        signature_path(theirs).write_bytes(changed)
        with pytest.raises(InputError, match=r"pets\.pte\.minisig"):
            verify(theirs, [THEIRS])


def test_another_key_is_named_by_its_id(theirs):
    with pytest.raises(
        AnotherKeyError, match=r"B5C9037F95584A25.* would be 6B2DE49DA677FD02"
    ) as it:
        verify(theirs, [read_public_key(OTHER_PUBLIC)])
    assert it.value.key_id == "B5C9037F95584A25"


def test_a_key_of_the_same_id_is_no_signer(theirs):
    """An ID is eight bytes that anybody can choose."""
    forged = read_public_key(PUBLIC[:14] + OTHER_PUBLIC[14:])
    with pytest.raises(InputError, match=r"is not what .* was made for"):
        verify(theirs, [forged])
    assert verify(theirs, [forged, THEIRS]).key == PUBLIC


def test_a_signature_names_its_key(file, new_key):
    key = new_key("maker")
    sign_file(file, key)
    assert named_key(file) == key.get_public_key()


def test_minisigns_own_names_none(theirs):
    with pytest.raises(InputError, match=r"does not tell its public key.* ID B5C9037F95584A25"):
        named_key(theirs)


def test_a_name_outside_of_ascii_can_be_signed(file, new_key):
    key, other = new_key("maker"), file.with_name("süß\n.pte")
    file.rename(other)
    sign_file(other, key)
    assert "\tfile:s\\xfc\\xdf\\n.pte\t" in verify(other, [key.get_public_key()]).comment


def test_the_old_form_is_refused(theirs):
    signature_path(theirs).write_bytes(OLD_SIGNATURE)
    with pytest.raises(InputError, match="in Minisign's old form"):
        verify(theirs, [THEIRS])


def _no_file(path):
    path.unlink()


def _a_folder(path):
    path.unlink()
    path.mkdir()


def _a_dangling_link(path):
    path.unlink()
    path.symlink_to("nowhere")


def _empty(path):
    path.write_bytes(b"")


def _binary(path):
    path.write_bytes(bytes(range(256)))


def _endless(path):
    path.write_bytes(SIGNATURE + b"x" * 1_000_000)


@pytest.mark.parametrize(
    "spoil", [_no_file, _a_folder, _a_dangling_link, _empty, _binary, _endless]
)
def test_what_is_no_signature_is_one_sentence(theirs, spoil):
    spoil(signature_path(theirs))
    with pytest.raises(InputError, match=r"pets\.pte\.minisig .*; "):
        verify(theirs, [THEIRS])


def test_a_time_that_is_none_is_left_out(file, new_key):
    key = new_key("maker")
    for stamp in ("9" * 30, "soon", ""):
        signature = key.sign(CONTENT, trusted_comment=f"timestamp:{stamp}")
        signature_path(file).write_bytes(bytes(signature))
        assert verify(file, [key.get_public_key()]).time is None


def test_where_there_is_no_file_nothing_is_signed(tmp_path, new_key):
    key = new_key("maker")
    with pytest.raises(InputError, match=r"no\.pte cannot be read"):
        sign_file(tmp_path / "no.pte", key)
    assert not signature_path(tmp_path / "no.pte").exists()
