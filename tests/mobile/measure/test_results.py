"""Result files: the way there and back, and damaged ones."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from cbpnet.host.errors import InputError
from mobile.device.bundle import read_manifest
from mobile.measure.results import describe_bundle, find_results, take, write_result

from . import made_up

KINDS = [made_up.ACCURACY, made_up.LATENCY, made_up.SILENT, made_up.LEARNING, made_up.PROTOCOL]


@pytest.mark.parametrize("figures", KINDS)
def test_there_and_back(tmp_path: Path, figures) -> None:
    result = made_up.result(figures)
    write_result(tmp_path / "a.json", result)
    assert find_results(tmp_path / "a.json") == {tmp_path / "a.json": result}


def test_a_folder_is_searched_and_other_json_passed_over(tmp_path: Path) -> None:
    (tmp_path / "pi5").mkdir()
    write_result(tmp_path / "pi5" / "b.json", made_up.result(made_up.LATENCY))
    write_result(tmp_path / "a.json", made_up.result(made_up.ACCURACY))
    (tmp_path / "results.json").write_text('{"runs": []}')
    (tmp_path / "rows.json").write_text("[]")
    assert list(find_results(tmp_path)) == [tmp_path / "a.json", tmp_path / "pi5" / "b.json"]


def content() -> dict:
    path_free = asdict(made_up.result(made_up.LEARNING))
    return {"format": "cbpnet-mobile board result", "version": 1, "kind": "learning", **path_free}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "cannot be read as JSON"),
        ("{}", "is no result of latency, evaluate or learn"),
        (json.dumps(content() | {"version": 2}), "has version 2; this version .* reads version 1"),
        (
            json.dumps(content() | {"kind": "weather"}),
            "is damaged .kind: invalid enum value 'weather'",
        ),
        (json.dumps(content() | {"figures": {}}), "is damaged .*missing required field `source`"),
        (
            json.dumps(content() | {"board": "Pi"}),
            "is damaged .board: expected `object`, got `str`",
        ),
        (json.dumps(content() | {"colour": 1}), "is damaged .object contains unknown field `col"),
    ],
)
def test_damaged_files_are_one_sentence(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(InputError, match=reason):
        find_results(path)


def test_a_folder_without_results(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no result; measure some with latency"):
        find_results(tmp_path)


def test_what_is_kept_of_a_bundle(bundle: Path) -> None:
    found = describe_bundle(bundle, read_manifest(bundle))
    assert (found.name, found.backbone, found.target) == (bundle.name, "toy", "portable")
    assert (found.image_size, found.micro_batch) == (8, 2)
    assert found.bytes == bundle.stat().st_size
    assert len(found.digest) == 16
    result = take(found, made_up.LEARNING)
    assert result.board.raspberry_pi is False
    assert result.taken.endswith("+00:00")
