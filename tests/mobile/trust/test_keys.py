"""Keys: their files are Minisign's, one way and the other, and are for their owner alone."""

import base64
import shutil
import stat
import subprocess

import pytest

pytest.importorskip("minisign")

from cbpnet.host.errors import InputError
from mobile.trust.keys import key_text, make_keys, read_public_key, read_secret_key

from .made_by_minisign import PUBLIC, PUBLIC_FILE, SECRET_FILE
from .textbook import is_signed

# RFC 8032, 7.1: secret and public key, message and signature of the tests 1 and 3.
RFC_8032 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
        "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
        "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
]


@pytest.mark.parametrize(("secret", "public", "message", "signature"), RFC_8032)
def test_a_key_signs_as_the_standard_has_it(tmp_path, secret, public, message, signature):
    halves = bytes.fromhex(secret + public)
    content = b"Ed" + bytes(2) + b"B2" + bytes(48) + b"the ID 8" + halves + bytes(32)
    path = tmp_path / "rfc.key"
    path.write_bytes(b"untrusted comment: \n" + base64.b64encode(content))
    signed = read_secret_key(path, pytest.fail).sign(bytes.fromhex(message), prehash=False)
    assert base64.b64decode(bytes(signed).splitlines()[1])[10:] == bytes.fromhex(signature)
    assert is_signed(*(bytes.fromhex(part) for part in (public, message, signature)))
    assert not is_signed(*(bytes.fromhex(part) for part in (public, message + "00", signature)))


def test_the_secret_key_is_its_owners_alone_and_the_other_everybodys(tmp_path):
    public = make_keys(tmp_path / "maker", None)
    modes = [stat.S_IMODE((tmp_path / f"maker.{kind}").stat().st_mode) for kind in ("key", "pub")]
    assert modes == [0o600, 0o644]
    assert read_public_key(str(tmp_path / "maker.pub")) == public
    assert read_public_key(key_text(public)) == public
    secret = read_secret_key(tmp_path / "maker.key", pytest.fail)
    assert secret.get_public_key() == public


def test_minisigns_keys_are_read(tmp_path):
    (tmp_path / "k.pub").write_bytes(PUBLIC_FILE)
    (tmp_path / "k.key").write_bytes(SECRET_FILE)
    assert key_text(read_public_key(str(tmp_path / "k.pub"))) == PUBLIC
    assert key_text(read_secret_key(tmp_path / "k.key", pytest.fail).get_public_key()) == PUBLIC


def test_a_password_is_asked_for_where_there_is_one(tmp_path):
    public = make_keys(tmp_path / "maker", "geheim")
    path = tmp_path / "maker.key"
    assert read_secret_key(path, lambda: "geheim").get_public_key() == public
    with pytest.raises(InputError, match=r"maker\.key does not open: wrong password"):
        read_secret_key(path, lambda: "gehei")


@pytest.mark.skipif(shutil.which("minisign") is None, reason="needs the program minisign")
@pytest.mark.parametrize("password", [None, "geheim"])
def test_minisign_signs_with_our_keys(tmp_path, password):
    public = make_keys(tmp_path / "maker", password)
    (tmp_path / "file").write_bytes(b"content")
    signing = ["minisign", "-S", "-s", "maker.key", "-m", "file"]
    asked = {"cwd": tmp_path, "check": True, "capture_output": True, "text": True}
    subprocess.run(signing, input=f"{password}\n", **asked)
    subprocess.run(["minisign", "-Vm", "file", "-P", key_text(public)], **asked)


@pytest.mark.parametrize("kind", ["key", "pub"])
def test_no_key_is_replaced(tmp_path, kind):
    there = tmp_path / f"maker.{kind}"
    there.write_text("mine")
    with pytest.raises(InputError, match=rf"maker\.{kind} exists, and a key is not replaced"):
        make_keys(tmp_path / "maker", None)
    assert [path.name for path in tmp_path.iterdir()] == [there.name]
    assert there.read_text() == "mine"


def test_where_nothing_can_be_written_nothing_is_left(tmp_path):
    with pytest.raises(InputError, match="name a key in a folder"):
        make_keys(tmp_path / "no" / "maker", None)
    assert not list(tmp_path.iterdir())


def test_a_damaged_key_does_not_sign(tmp_path):
    first, line = SECRET_FILE.splitlines()
    content = bytearray(base64.b64decode(line))
    content[70] ^= 1  # of the secret half
    path = tmp_path / "k.key"
    path.write_bytes(first + b"\n" + base64.b64encode(content))
    with pytest.raises(InputError, match="is damaged: what it signs"):
        read_secret_key(path, pytest.fail)


@pytest.mark.parametrize("content", [None, b"", b"no key", PUBLIC_FILE, b"x" * 10_000_000])
def test_what_is_no_secret_key_is_one_sentence(tmp_path, content):
    path = tmp_path / "k.key"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"k\.key (cannot be read|holds no).* name the \.key file"):
        read_secret_key(path, pytest.fail)


@pytest.mark.parametrize("content", [None, b"", b"no key", SECRET_FILE, b"\xff\n\xff"])
def test_what_is_no_public_key_is_one_sentence(tmp_path, content):
    path = tmp_path / "k.pub"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"k\.pub (cannot be read|holds no).* name a \.pub file"):
        read_public_key(str(path))
