"""A bundle is verified before any runtime sees it, and its manifest survives JSON."""

import hashlib
import json
import random
import subprocess
import sys

import pytest

from cbpnet.host.errors import InputError
from mobile.device.bundle import manifest_from_json, manifest_to_json, open_bundle, seal
from mobile.device.program import Program

PROGRAM = b"\x20\0\0\0ET12" + bytes(range(256)) * 20


@pytest.fixture
def sealed(tmp_path):
    path = tmp_path / "x.pte"
    path.write_bytes(seal(PROGRAM))
    return path


def test_the_trailer_is_what_its_documentation_says():
    content = seal(PROGRAM)
    assert content[: len(PROGRAM)] == PROGRAM
    trailer = content[len(PROGRAM) :]
    assert len(trailer) == 48
    assert trailer[:16] == b"CBPNETMB" + (2).to_bytes(4, "little") + bytes(4)
    assert trailer[16:] == hashlib.sha256(PROGRAM + trailer[:16]).digest()


def test_what_was_sealed_opens(sealed):
    with open_bundle(sealed) as file:
        assert file.name == str(sealed)


@pytest.mark.parametrize("name", ["missing.pte", "."])
def test_a_file_that_cannot_be_read_is_named(tmp_path, name):
    with pytest.raises(InputError, match=r"^bundle .* cannot be read: [^\n]*; name a file that"):
        open_bundle(tmp_path / name)


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\3\4 a zip" * 100, b"\0" * 1000])
def test_another_file_is_not_a_bundle(tmp_path, content):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(InputError, match=r"x is not a bundle; export it again with `cbpnet"):
        open_bundle(tmp_path / "x")


def test_a_plain_program_is_told_apart(tmp_path):
    (tmp_path / "x.pte").write_bytes(PROGRAM)
    with pytest.raises(InputError, match=r"x\.pte is a plain ExecuTorch program or a bundle cut"):
        open_bundle(tmp_path / "x.pte")


@pytest.mark.parametrize("missing", [1, 31, 48, 49, 4000])
def test_a_truncated_bundle_is_refused(sealed, missing):
    sealed.write_bytes(sealed.read_bytes()[:-missing])
    with pytest.raises(InputError, match="a bundle cut short"):
        open_bundle(sealed)


def test_any_flipped_bit_is_found(sealed):
    content, rng = sealed.read_bytes(), random.Random(0)
    places = [*rng.sample(range(len(PROGRAM)), 100), *range(len(PROGRAM), len(content))]
    for place in places:
        damaged = bytearray(content)
        damaged[place] ^= 1 << rng.randrange(8)
        sealed.write_bytes(damaged)
        with pytest.raises(InputError, match=r"is damaged|is a plain ExecuTorch program"):
            open_bundle(sealed)


@pytest.mark.parametrize(
    ("version", "right"), [(1, "export the bundle again"), (3, "update cbpnet-mobile")]
)
def test_another_format_is_named(sealed, version, right):
    content = PROGRAM + b"CBPNETMB" + version.to_bytes(4, "little") + bytes(4)
    sealed.write_bytes(content + hashlib.sha256(content).digest())
    with pytest.raises(InputError, match=f"has format version {version}; .* version 2, so {right}"):
        open_bundle(sealed)


def test_a_damaged_bundle_does_not_end_the_process(bundle, tmp_path):
    """In a process of its own: bits flipped all over, and each time one sentence."""
    code = """
import random, sys
from pathlib import Path
from cbpnet.host.errors import InputError
from mobile.device.program import Program
content, path, rng = Path(sys.argv[1]).read_bytes(), Path(sys.argv[2]), random.Random(0)
refused = 0
for _ in range(200):
    damaged = bytearray(content)
    damaged[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(damaged)
    try:
        Program(path)
    except InputError:
        refused += 1
print(refused)
"""
    command = [sys.executable, "-c", code, str(bundle), str(tmp_path / "damaged.pte")]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == "200\n"


def test_a_plain_program_with_a_bundles_end_is_no_bundle(tmp_path):
    (tmp_path / "x.pte").write_bytes(seal(b"\0" * 4000))
    with pytest.raises(InputError, match=r"x.pte cannot be loaded by the installed executorch"):
        Program(tmp_path / "x.pte")


def test_a_manifest_survives_json(bundle):
    manifest = Program(bundle).manifest
    assert manifest_from_json(manifest_to_json(manifest)) == manifest
    content = json.loads(manifest_to_json(manifest))
    assert (content["format"], content["format_version"]) == ("cbpnet-mobile bundle", 2)
    assert content["methods"]["query"]["inputs"] == [
        {"name": "images", "dtype": "float32", "shape": [2, 3, 8, 8]}
    ]
    assert manifest.layout == manifest.state_info((), {}).layout
    counts = {tensor["name"]: tensor["counts"] for tensor in content["state"]}
    named = ("head.weight", "adam.m.head.weight", "prompts.e", "adam.m.prompts.e")
    assert [counts[name] for name in named] == ["classes", "classes", "tasks", None]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"format": "recipe"}, "its format is"),
        ({"format_version": 1}, "its format is"),
        ({"colour": "red"}, "object contains unknown field `colour`"),
        (
            {"methods": {"query": {"inputs": []}}},
            r"methods\[...\]: .*missing required field `outputs`",
        ),
        ({"backbone": 3}, "backbone: expected `object`, got `int`"),
    ],
)
def test_a_manifest_with_other_entries_is_one_sentence(bundle, change, reason):
    content = json.loads(manifest_to_json(Program(bundle).manifest)) | change
    with pytest.raises(InputError, match=rf"^the bundle's manifest cannot be read .*{reason}"):
        manifest_from_json(json.dumps(content))


@pytest.mark.parametrize("text", ["", "no json", "[]", "{}", "3"])
def test_a_manifest_that_is_no_object_is_one_sentence(text):
    with pytest.raises(InputError, match="manifest cannot be read"):
        manifest_from_json(text)
