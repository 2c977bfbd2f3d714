"""A bundle is verified before any runtime sees it, and says without one what it is."""

import dataclasses
import hashlib
import json
import random
import re
import struct
import subprocess
import sys

import pytest

from cbpnet.data.preprocessing import Preprocessing
from cbpnet.host.errors import InputError
from cbpnet.method.config import LearnerConfig, OptimiserConfig
from mobile.device.bundle import open_bundle, read_manifest, seal
from mobile.device.manifest import (
    BackboneInfo,
    Limits,
    Manifest,
    MethodInfo,
    StateTensor,
    TensorInfo,
)
from mobile.device.program import Program

PROGRAM = b"\x20\0\0\0ET12" + bytes(range(256)) * 20
MANIFEST = Manifest(
    target="xnnpack",
    target_options={"halves": "no"},
    precision="int8",
    backbone=BackboneInfo("vit_tiny", 5_500_000, 192, "0123456789abcdef"),
    preprocessing=Preprocessing(224, (0.5, 0.25, 1 / 3), (0.5, 0.1, 0.7), "bicubic", 0.9),
    config=LearnerConfig(optimiser=OptimiserConfig(max_norm=float("inf"))),
    classes=10,
    tasks=4,
    class_names=("apple", "Apple", "\N{LATIN SMALL LETTER O WITH DIAERESIS} \N{SNOWMAN}"),
    micro_batch=2,
    image_size=224,
    trainable_parameters=9600,
    trainable_fraction=9600 / 5_500_000,
    head_parameters=1920,
    state=(StateTensor("head.weight", (10, 192), "classes"), StateTensor("adam.step", (1,), None)),
    adaptation=(),
    methods={
        "query": MethodInfo(
            (TensorInfo("images", "float32", (2, 3, 224, 224)),),
            (TensorInfo("query", "float32", (2, 192)),),
            1,
            {"mul": 2},
            1000,
            7,
        )
    },
    limits=Limits(planned_bytes=4096),
    quantisation={"agreement": {"all": 0.5}, "layers": [1, None, "x"]},
    versions={"torch": "2.13.0"},
)
VALUES = json.loads(json.dumps(dataclasses.asdict(MANIFEST)))


@pytest.fixture
def sealed(tmp_path):
    path = tmp_path / "x.pte"
    path.write_bytes(seal(PROGRAM, MANIFEST))
    return path


def with_trailer(content, version, number):
    """What a file of any version ends in; ``number`` is 0, or the bytes of the manifest."""
    content += b"CBPNETMB" + struct.pack("<II", version, number)
    return content + hashlib.sha256(content).digest()


def test_the_file_is_what_its_documentation_says():
    content = seal(PROGRAM, MANIFEST)
    assert content[: len(PROGRAM)] == PROGRAM
    text, trailer = content[len(PROGRAM) : -48], content[-48:]
    assert json.loads(text.decode("utf-8")) == VALUES
    assert trailer[:12] == b"CBPNETMB" + (4).to_bytes(4, "little")
    assert trailer[12:16] == len(text).to_bytes(4, "little")
    assert trailer[16:] == hashlib.sha256(content[:-32]).digest()


def test_what_was_sealed_opens(sealed):
    bundle = open_bundle(sealed)
    with bundle.file:
        assert bundle.file.name == str(sealed)
    assert bundle.manifest == read_manifest(sealed) == MANIFEST
    assert bundle.program_bytes == len(PROGRAM)
    assert bundle.program_sha256 == hashlib.sha256(PROGRAM).digest()
    assert bundle.sha256 == sealed.read_bytes()[-32:]


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
    places = [*rng.sample(range(len(content)), 200), *range(len(content) - 48, len(content))]
    for place in places:
        damaged = bytearray(content)
        damaged[place] ^= 1 << rng.randrange(8)
        sealed.write_bytes(damaged)
        with pytest.raises(InputError, match=r"is damaged|is a plain ExecuTorch program"):
            open_bundle(sealed)


@pytest.mark.parametrize(
    ("version", "right"),
    [(1, "export the bundle again"), (3, "export the bundle again"), (5, "update cbpnet-mobile")],
)
def test_another_format_is_named(sealed, version, right):
    sealed.write_bytes(with_trailer(PROGRAM, version, 0))
    with pytest.raises(InputError, match=f"has format version {version}; .* version 4, so {right}"):
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


def test_what_is_no_program_is_not_loaded(bundle, tmp_path):
    (tmp_path / "x.pte").write_bytes(seal(b"\0" * 4000, read_manifest(bundle)))
    with pytest.raises(InputError, match=r"x.pte is not run: it does not begin as a program of"):
        Program(tmp_path / "x.pte")


def test_the_manifest_of_a_real_bundle(bundle):
    manifest = read_manifest(bundle)
    assert manifest == Program(bundle).manifest
    assert manifest.methods["query"].inputs == (TensorInfo("images", "float32", (2, 3, 8, 8)),)
    assert manifest.layout == manifest.state_info((), {}).layout
    counts = {tensor.name: tensor.counts for tensor in manifest.state}
    named = ("head.weight", "adam.m.head.weight", "prompts.e", "adam.m.prompts.e")
    assert [counts[name] for name in named] == ["classes", "classes", "tasks", None]


def test_it_is_read_where_there_is_neither_torch_nor_a_runtime(bundle):
    code = """
import sys
from pathlib import Path
sys.modules |= dict.fromkeys(["executorch", "numpy", "torch"])  # which refuses to import them
from mobile.device.bundle import read_manifest
print(read_manifest(Path(sys.argv[1])).backbone.name)
"""
    command = [sys.executable, "-c", code, str(bundle)]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == "toy\n"


def refused(path, text, length=None):
    """The sentence for a bundle with a manifest of other bytes, or said to be of another length."""
    path.write_bytes(with_trailer(PROGRAM + text, 4, len(text) if length is None else length))
    with pytest.raises(InputError) as raised:
        open_bundle(path)
    (sentence,) = str(raised.value).splitlines()
    assert str(path) in sentence
    assert sentence.endswith("export the bundle again")
    return sentence


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"colour": "red"}, "object contains unknown field `colour`"),
        (
            {"methods": {"query": {"inputs": []}}},
            r"methods\[...\]: .*missing required field `outputs`",
        ),
        ({"backbone": 3}, "backbone: expected `object`, got `int`"),
        (
            {"state": [{"name": "x", "shape": [1], "counts": "rows"}]},
            r"state\[0\].counts: .*'rows'",
        ),
    ],
)
def test_a_manifest_with_other_entries_is_one_sentence(tmp_path, change, reason):
    found = refused(tmp_path / "x.pte", json.dumps(VALUES | change).encode())
    assert re.search(rf"^the manifest of bundle .* cannot be read \({reason}", found)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "Expecting value"),
        (b"no json", "Expecting value"),
        (b"[]", "expected `object`, got `array`"),
        (b"3", "expected `object`, got `int`"),
        (b"{}", "object missing required field `target`"),
        (b'{"target": "x', "Unterminated string"),
        (b'{"target": "\xff"}', "'utf-8' codec can't decode byte 0xff in position 12"),
        (json.dumps(VALUES).encode("utf-16"), "'utf-8' codec can't decode byte 0xff"),
        (b'{"classes": ' + b"9" * 5000 + b"}", "Exceeds the limit"),
    ],
)
def test_a_manifest_that_is_none_is_one_sentence(tmp_path, text, reason):
    found = refused(tmp_path / "x.pte", text)
    assert f"the manifest of bundle {tmp_path / 'x.pte'} cannot be read ({reason}" in found


@pytest.mark.parametrize("opening", ["[", '{"a": '])
@pytest.mark.parametrize("levels", [101, 990, 100_000])
def test_a_manifest_that_is_nested_too_deep_is_one_sentence(tmp_path, opening, levels):
    closing = "]" if opening == "[" else "}"
    text = opening * (levels - 1) + "[]" + closing * (levels - 1)
    found = refused(tmp_path / "x.pte", text.encode())
    assert "cannot be read (it is nested deeper than 100 levels)" in found


def test_as_many_levels_as_are_allowed_are_read(sealed):
    deepest = json.loads("[" * 98 + "]" * 98)
    manifest = dataclasses.replace(MANIFEST, quantisation={"x": deepest})
    sealed.write_bytes(seal(PROGRAM, manifest))
    assert read_manifest(sealed) == manifest


def test_a_manifest_longer_than_its_file_is_one_sentence(tmp_path):
    text = json.dumps(VALUES).encode()
    there = len(PROGRAM) + len(text)
    for length in (there + 1, 1 << 31, (1 << 32) - 1):
        found = refused(tmp_path / "x.pte", text, length)
        assert f"says that its manifest has {length:,} bytes; at most {there:,} would be" in found


def test_a_manifest_of_another_length_than_said_is_one_sentence(tmp_path):
    text = json.dumps(VALUES).encode()
    assert "Extra data" in refused(tmp_path / "x.pte", text + text)
    for length in (0, 1, len(text) - 1, len(text) + 1, len(text) + 300):
        assert "cannot be read (" in refused(tmp_path / "x.pte", text, length)


def test_a_huge_manifest_is_not_read(tmp_path):
    text = b" " * (4_194_304 + 1)
    found = refused(tmp_path / "x.pte", text)
    assert "says that its manifest has 4,194,305 bytes; at most 4,194,304 would be right" in found
