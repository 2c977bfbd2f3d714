"""The commands that make keys, sign, verify, and refuse what is not from whom it was before."""

import copy
import json
import shutil
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner

pytest.importorskip("minisign")

from mobile.cli import export_job as job, export_summary, main
from mobile.device.runtime import OnDeviceLearner
from mobile.trust.keys import read_public_key
from mobile.trust.signatures import verify


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Return a function that runs a command in a folder with two keys, maker and other."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments, status=0, answers=None):
        found = CliRunner().invoke(main, list(map(str, arguments)), input=answers)
        assert found.exit_code == status, found.output
        return found.stdout if status == 0 else found.stderr

    for name in ("maker", "other"):
        run("keygen", name, "--no-password")
    return run


@pytest.fixture
def signed(run, one_pass_bundle):
    """The name of a bundle that maker signed."""
    shutil.copy(one_pass_bundle, "pets.pte")
    run("sign", "pets.pte", "--key", "maker.key")
    return "pets.pte"


def key(name="maker"):
    return Path(f"{name}.pub").read_text().splitlines()[1]


def test_keys_are_made_with_a_password_unless_it_is_declined(run):
    found = json.loads(run("keygen", "new", "--json", answers="geheim\ngeheim\n"))
    assert found == {"secret_key": "new.key", "public_key": "new.pub", "key": key("new")}
    assert stat.S_IMODE(Path("new.key").stat().st_mode) == 0o600
    assert "new.key exists" in run("keygen", "new", status=1)
    shutil.copy("maker.pub", "file")
    assert "wrong password" in run("sign", "file", "--key", "new.key", status=1, answers="no\n")
    run("sign", "file", "--key", "new.key", answers="geheim\n")


def test_a_signature_is_shown(run, signed):
    found = json.loads(run("sign", signed, "--key", "maker.key", "--json"))
    assert (found["file"], found["signature"]) == (signed, "pets.pte.minisig")
    assert found["key"] == key()
    for source in ([], ["maker.pub"], [key()]):
        text = run("inspect", signed, "--verify", *source)
        assert text.startswith(f"pets.pte: signed by {key()} at 20")
        assert f"\n  trusted comment: {found['trusted_comment']}\n".replace("\t", "  ") in text
        shown = json.loads(run("inspect", signed, "--json", "--verify", *source))
        assert shown["signature"] == {
            "key": key(),
            "time": found["time"],
            "trusted_comment": found["trusted_comment"],
        }
    assert "signature" not in json.loads(run("inspect", signed, "--json"))


def test_what_is_not_signed_so_is_one_sentence(run, signed):
    assert "use a file that its owner signed" in run(
        "inspect", signed, "--verify", "other.pub", status=1
    )
    Path(signed).write_bytes(Path(signed).read_bytes() + b".")
    assert "is not what pets.pte.minisig was made for" in run(
        "inspect", signed, "--verify", status=1
    )
    Path("pets.pte.minisig").unlink()
    assert "has no signature" in run("inspect", signed, "--verify", status=1)


COMMANDS = [
    ("predict", "pets.pte", "picture.png"),
    ("learn", "pets.pte", "--images", "photos"),
    ("history", "pets.pte"),
    ("bench", "pets.pte"),
    ("latency", "pets.pte"),
    ("evaluate", "pets.pte", "--images", "photos", "--state", "a.safetensors"),
    ("forget", "pets.pte", "red"),
    ("merge", "a.safetensors", "b.safetensors", "--out", "c.safetensors", "--bundle", "pets.pte"),
    ("inspect", "a.safetensors", "--bundle", "pets.pte"),
    ("watch", "pets.pte", "--inbox", "inbox", "--state", "c.safetensors", "--once"),
]


@pytest.fixture
def states(run, signed, pictures, write_classes, tmp_path):
    """Two states of a bundle that was used, and photos."""
    learner = OnDeviceLearner(signed)
    learner.learn({"red": pictures("red", 3, 0), "blue": pictures("blue", 3, 1)})
    learner.save("a.safetensors")
    learner.learn({"green": pictures("green", 3, 2)})
    learner.save("b.safetensors")
    write_classes(tmp_path / "photos", "red", "blue")
    shutil.copy("photos/red/0.png", "picture.png")
    return "a.safetensors", "b.safetensors"


def test_every_command_on_a_bundle_refuses_another_key(run, signed, states):
    run("history", signed)
    run("sign", signed, "--key", "other.key")
    for command in COMMANDS:
        assert "or accept the new one with `cbpnet-mobile trust pets.pte`" in run(
            *command, status=1
        ), command
    run("trust", signed)
    run("predict", signed, "picture.png", "--state", "a.safetensors")


def test_whose_bundles_are_trusted_is_listed_and_forgotten(run, signed, tmp_path):
    assert run("trust", "--list") == "no bundle that was opened here had a signature\n"
    run("trust", signed, "--key", "maker.pub")
    (one,) = json.loads(run("trust", "--list", "--json"))
    assert (one["bundle"], one["key"]) == (str(tmp_path / signed), key())
    assert key() in run("trust", "--list")
    Path("pets.pte.minisig").unlink()
    assert "has no signature" in run("history", signed, status=1)
    assert json.loads(run("trust", signed, "--forget", "--json"))["forgotten"]
    run("history", signed)
    assert run("trust", signed, "--forget") == "pets.pte: no key was remembered\n"


def test_what_is_there_is_accepted(run, signed):
    found = json.loads(run("trust", signed, "--json"))
    assert found["signature"]["key"] == key()
    assert "right would be" in run("trust", signed, "--key", key("other"), status=1)
    Path("pets.pte.minisig").unlink()
    assert "trusted without one" in run("trust", signed)


@pytest.mark.parametrize(
    "arguments",
    [[], ["pets.pte", "--list"], ["--list", "--key", "x"], ["x", "--forget", "--key", "x"]],
)
def test_trust_has_one_thing_to_do(run, arguments):
    assert "Usage" in run("trust", *arguments, status=2)


def test_only_states_of_known_signers_are_merged(run, states):
    merge = ["merge", *states, "--bundle", "pets.pte", "--out", "c.safetensors"]
    keys = ["--signed-by", "maker.pub", "--signed-by", key("other")]
    assert "a.safetensors has no signature" in run(*merge, *keys, status=1)
    run("sign", "a.safetensors", "--key", "maker.key")
    run("sign", "b.safetensors", "--key", "other.key")
    assert "b.safetensors.minisig is by the key" in run(*merge, *keys[:2], status=1)
    assert not Path("c.safetensors").exists()
    run(*merge, *keys)
    assert f"signed by {key()}" in run("inspect", "a.safetensors", "--verify")


def test_a_signature_of_a_state_before_is_in_nobodys_way(run, signed, states):
    """What is learnt on is another file than the one that was signed."""
    run("sign", "a.safetensors", "--key", "maker.key")
    run("learn", signed, "--images", "photos", "--state", "a.safetensors")
    assert "was changed since" in run("inspect", "a.safetensors", "--verify", status=1)
    run("predict", signed, "picture.png", "--state", "a.safetensors")
    run("sign", "a.safetensors", "--key", "maker.key")
    run("inspect", "a.safetensors", "--verify", "maker.pub")


def test_the_key_is_looked_at_before_anything_is_exported(run, monkeypatch):
    def load(*_):
        pytest.fail("the backbone was loaded before the key was")

    monkeypatch.setattr(job, "load_backbone", load)
    export = ["export", "--target", "xnnpack", "--out", "out/x.pte", "--sign"]
    assert "holds no secret key" in run(*export, "maker.pub", status=1)
    assert "cannot be read" in run(*export, "no.key", status=1)
    assert not Path("out").exists()


def test_an_export_is_signed_as_it_is_written(run, monkeypatch, small_backbone):
    written = []
    monkeypatch.setattr(job, "load_backbone", lambda *_: copy.deepcopy(small_backbone))
    monkeypatch.setattr(job, "export_bundle", lambda *given: written.append(given[-1]))
    monkeypatch.setattr(export_summary, "as_document", lambda *_: {})
    export = ["export", "--target", "xnnpack", "--out", "x.pte", "--budget", "1", "--json"]
    signed = json.loads(run(*export, "--sign", "maker.key"))
    unsigned = json.loads(run(*export))
    assert (signed["signature"], unsigned["signature"]) == ("x.pte.minisig", None)
    path, (write, write_unsigned) = Path("x.pte"), written
    write(path, b"a bundle")
    maker = read_public_key("maker.pub")
    assert verify(path, [maker]).key == key()
    write_unsigned(path, b"another")
    assert not Path("x.pte.minisig").exists()
