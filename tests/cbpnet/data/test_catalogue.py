"""The table of data sets."""

from pathlib import Path

import pytest
from PIL import Image

from cbpnet.data.catalogue import DATASETS, load_dataset
from cbpnet.host.errors import InputError


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(
        InputError, match=r"'mnist' is unknown; .*cifar100, imagenet-r, folder, digi"
    ):
        load_dataset("mnist")


@pytest.mark.parametrize("spec", [name for name, kind in DATASETS.items() if kind.path])
def test_a_missing_path_is_named_with_what_is_expected(spec: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"'{spec}' needs a path; right would be .*folder"):
        load_dataset(spec)
    with pytest.raises(InputError, match="absent"):
        load_dataset(spec, tmp_path / "absent")


def test_digits_take_no_path(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    assert load_dataset("digits").name == "digits"
    with pytest.raises(InputError, match="takes no path"):
        load_dataset("digits", tmp_path)


def test_strictness_and_progress_reach_the_folder(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (2, 2)).save(tmp_path / name / "a.png")
    (tmp_path / "dog" / "b.png").touch()
    seen: list[Path] = []

    def progress(paths: list[Path]) -> list[Path]:
        seen.extend(paths)
        return paths

    assert load_dataset("folder", tmp_path, progress=progress).class_names == ("cat", "dog")
    assert [path.name for path in seen] == ["a.png", "a.png", "b.png"]
    with pytest.raises(InputError, match=r"b\.png"):
        load_dataset("folder", tmp_path, strict=True)
