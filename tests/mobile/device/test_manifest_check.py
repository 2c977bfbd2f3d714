"""A manifest whose numbers are out of range, or whose names cannot be shown, is refused by name."""

import dataclasses
import json
import math

import pytest

from cbpnet.host.errors import InputError
from mobile.device.bundle import open_bundle, read_manifest, seal
from mobile.device.manifest import Limits, MethodInfo, StateTensor, TensorInfo
from mobile.device.manifest_check import check_manifest
from mobile.device.program import Program


@pytest.fixture
def manifest(bundle):
    return read_manifest(bundle)


def replaced(manifest, place, value):
    """A manifest with another value at a place in it, "backbone.dim" for instance."""
    name, _, rest = place.partition(".")
    if rest:
        value = replaced(getattr(manifest, name), rest, value)
    return dataclasses.replace(manifest, **{name: value})


def test_what_an_export_writes_is_taken(manifest):
    check_manifest(manifest)


@pytest.mark.parametrize(
    ("place", "value", "reason"),
    [
        ("classes", 0, "classes is 0; right would be from 1 to 1,048,576"),
        ("tasks", 1 << 40, "tasks is 1099511627776; right would be from 1 to 65,536"),
        ("micro_batch", -1, "micro_batch is -1"),
        ("image_size", 1 << 20, "image_size is 1048576"),
        ("trainable_fraction", math.nan, "trainable_fraction is nan"),
        ("backbone.dim", 0, "backbone.dim is 0"),
        ("backbone.name", "", "backbone.name is ''; right would be text that can be shown"),
        ("target", "x\x1b]0;y\x07", r"target is 'x\x1b]0;y\x07'; right would be text"),
        ("preprocessing.crop_pct", 0.0, "preprocessing.crop_pct is 0.0"),
        ("preprocessing.mean", (math.inf, 0.0, 0.0), "preprocessing.mean is inf"),
        ("preprocessing.std", (0.5, 0.0, 0.5), "preprocessing.std is 0.0"),
        ("limits", Limits(1 << 33), "limits.planned_bytes is 8589934592; right would be from 0"),
        ("class_names", ("a", "a"), "class_names is 'a'; right would be each name once"),
        ("class_names", ("a\x1b[2J",), "class_names: 'a\\x1b[2J' has the character '\\x1b'"),
        ("class_names", ("",), "class_names: '' is empty"),
        ("class_names", tuple("abcdefgh"), "the number of class_names is 8; right would be at mo"),
        ("state", (StateTensor("x", (-1,), None),), "state.x.shape is [-1]"),
        ("state", (StateTensor("x", (1 << 20, 1 << 20), None),), "2,147,483,648 bytes in all"),
        ("state", (StateTensor("x", (1,) * 9, None),), "at most 8 lengths of 0 or more"),
        ("state", (StateTensor("x", (), None),) * 2, "state is 'x'; right would be each name once"),
        ("versions", {"torch\n": "1"}, "versions is 'torch\\n'"),
    ],
)
def test_an_entry_that_cannot_be_is_named(manifest, place, value, reason):
    with pytest.raises(ValueError, match=r"right would be") as raised:
        check_manifest(replaced(manifest, place, value))
    assert reason in str(raised.value)


@pytest.mark.parametrize(
    ("name", "method", "reason"),
    [
        ("query", {"inputs": (TensorInfo("x", "float16", (1,)),)}, "x.dtype is 'float16'; right"),
        ("query", {"outputs": (TensorInfo("x", "int64", (-5,)),)}, "outputs.x.shape is [-5]"),
        ("query", {"macs": -1}, "methods.query.macs is -1"),
        ("query", {"undelegated": {"mul": 1 << 70}}, "methods.query.undelegated.mul is"),
        ("query", {"undelegated": {"m\rl": 1}}, r"methods.query.undelegated is 'm\rl'"),
        ("quiz", {}, "methods is 'quiz'; right would be of initial_state, query, features"),
    ],
)
def test_a_method_that_cannot_be_is_named(manifest, name, method, reason):
    info = dataclasses.replace(MethodInfo((), (), 0, {}, 0, 0), **method)
    with pytest.raises(ValueError, match=r"right would be") as raised:
        check_manifest(dataclasses.replace(manifest, methods={name: info}))
    assert reason in str(raised.value)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400"])
def test_json_that_has_no_number_is_refused(bundle, tmp_path, program_in, monkeypatch, number):
    path, dumps = tmp_path / "x.pte", json.dumps
    text = '"trainable_fraction": '
    monkeypatch.setattr(
        json, "dumps", lambda value: dumps(value).replace(text, f'{text}{number}, "x": ')
    )
    path.write_bytes(seal(program_in(bundle), read_manifest(bundle)))
    with pytest.raises(InputError, match=r"the manifest of bundle .* cannot be read"):
        open_bundle(path)


def test_a_bundle_that_plans_more_than_it_says_is_refused(bundle, tmp_path, program_in, manifest):
    path = tmp_path / "x.pte"
    path.write_bytes(seal(program_in(bundle), replaced(manifest, "limits.planned_bytes", 100)))
    with pytest.raises(InputError, match=r"plans memory of .* at most 100 in all; export it again"):
        Program(path)
