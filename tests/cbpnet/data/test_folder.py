"""Folders of class folders, tidy and untidy."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cbpnet.data.dataset import Dataset
from cbpnet.data.folder import find_images, load_folder, load_imagenet_r, read_class_folders
from cbpnet.data.images import ImageSource
from cbpnet.host.errors import InputError


def _write(root: Path, classes: dict[str, int]) -> Path:
    """Write `classes[name]` images a class, each of a colour of its own."""
    for number, (name, count) in enumerate(classes.items()):
        (root / name).mkdir(parents=True)
        for index in range(count):
            Image.new("RGB", (3, 2), (number, index, 0)).save(root / name / f"{index:03d}.png")
    return root


def _contents(source: ImageSource, names: tuple[str, ...]) -> dict[str, set[str]]:
    """The file names of each class, with the class's folder checked on the way."""
    contents: dict[str, set[str]] = {name: set() for name in names}
    for index, label in enumerate(source.labels):
        path = Path(source.name(index))
        assert path.parent.name == names[label]
        contents[names[label]].add(path.name)
    return contents


def _sizes(dataset: Dataset) -> list[tuple[int, int]]:
    classes = len(dataset.class_names)
    parts = (dataset.train, dataset.test)
    train, test = (np.bincount(part.labels, minlength=classes).tolist() for part in parts)
    return list(zip(train, test, strict=True))


def test_classes_are_alphabetical_and_split_one_by_one(tmp_path: Path) -> None:
    dataset = load_folder(_write(tmp_path / "pets", {"dog": 10, "cat": 5, "ant": 23}))
    assert dataset.name == "pets"
    assert dataset.class_names == ("ant", "cat", "dog")
    assert _sizes(dataset) == [(18, 5), (4, 1), (8, 2)]
    assert dataset.notes == ()
    train, test = (_contents(part, dataset.class_names) for part in (dataset.train, dataset.test))
    for name in dataset.class_names:
        assert train[name] | test[name] == {
            path.name for path in (tmp_path / "pets" / name).iterdir()
        }
        assert not train[name] & test[name]


def test_pixels_come_with_their_label(tmp_path: Path) -> None:
    dataset = load_folder(_write(tmp_path, {"a": 4, "b": 4, "c": 4}))
    for source in (dataset.train, dataset.test):
        for index, label in enumerate(source.labels):
            assert source.image(index).getpixel((0, 0))[0] == label


def test_the_split_is_repeatable_and_a_class_keeps_its_own_when_others_come(tmp_path: Path) -> None:
    few = load_folder(_write(tmp_path / "few", {"cat": 40}), seed=3)
    many = load_folder(_write(tmp_path / "many", {"ant": 7, "cat": 40}), seed=3)
    other = load_folder(tmp_path / "few", seed=4)
    test = _contents(few.test, few.class_names)["cat"]
    assert test == _contents(many.test, many.class_names)["cat"]
    assert test != _contents(other.test, other.class_names)["cat"]


def test_the_test_fraction_is_the_callers(tmp_path: Path) -> None:
    assert _sizes(load_folder(_write(tmp_path, {"a": 10}), test_fraction=0.5)) == [(5, 5)]


@pytest.mark.parametrize(("classes", "a_task"), [(1, 1), (2, 2), (10, 2), (21, 3), (100, 10)])
def test_the_usual_number_of_classes_makes_ten_tasks(
    tmp_path: Path, classes: int, a_task: int
) -> None:
    dataset = load_folder(_write(tmp_path, {f"{label:03d}": 1 for label in range(classes)}))
    assert dataset.classes_per_task == a_task


@pytest.mark.parametrize("held_out", ["test", "val"])
def test_a_folder_that_is_split_stays_so(tmp_path: Path, held_out: str) -> None:
    _write(tmp_path / "train", {"a": 3, "b": 4})
    _write(tmp_path / held_out, {"a": 2, "b": 1})
    dataset = load_folder(tmp_path)
    assert dataset.class_names == ("a", "b")
    assert _sizes(dataset) == [(3, 2), (4, 1)]
    for source, part in ((dataset.train, "train"), (dataset.test, held_out)):
        assert {Path(source.name(i)).parts[-3] for i in range(len(source))} == {part}


def test_test_goes_before_val_and_what_is_unused_is_named(tmp_path: Path) -> None:
    for part, count in (("train", 3), ("val", 2), ("test", 1), ("extra", 5)):
        _write(tmp_path / part, {"a": count})
    dataset = load_folder(tmp_path)
    assert _sizes(dataset) == [(3, 1)]
    assert dataset.notes == (f"{tmp_path}: only train and test are used, not extra, val",)


def test_classes_called_train_and_test_are_classes(tmp_path: Path) -> None:
    dataset = load_folder(_write(tmp_path, {"train": 5, "test": 5}))
    assert dataset.class_names == ("test", "train")
    assert _sizes(dataset) == [(4, 1), (4, 1)]


def test_a_class_that_only_the_test_folder_has_is_refused(tmp_path: Path) -> None:
    _write(tmp_path / "train", {"a": 3, "b": 1})
    _write(tmp_path / "test", {"a": 2, "c": 1})
    with pytest.raises(InputError, match="test: c has no folder of the same name"):
        load_folder(tmp_path)


def test_a_class_without_test_images_is_named(tmp_path: Path) -> None:
    _write(tmp_path / "train", {"a": 3, "b": 1, "c": 1})
    _write(tmp_path / "test", {"a": 2, "b": 0})
    dataset = load_folder(tmp_path)
    assert _sizes(dataset) == [(3, 2), (1, 0), (1, 0)]
    assert dataset.notes == (f"{tmp_path}: 2 of 3 classes have no test image: b, c",)


def test_a_single_image_is_trained_on(tmp_path: Path) -> None:
    dataset = load_folder(_write(tmp_path, {"a": 5, "b": 1}), strict=True)
    assert _sizes(dataset) == [(4, 1), (1, 0)]
    assert dataset.notes == (f"{tmp_path}: 1 of 2 classes have no test image: b",)


@pytest.mark.parametrize(("one", "other"), [("Cat", "cat"), ("caf\u00e9", "cafe\u0301")])
def test_classes_that_a_phone_takes_for_one_are_refused(
    tmp_path: Path, one: str, other: str
) -> None:
    _write(tmp_path, {one: 2})
    if (tmp_path / other).exists():
        pytest.skip("needs a file system that tells the two names apart")
    _write(tmp_path, {other: 2})
    with pytest.raises(InputError) as caught:
        load_folder(tmp_path)
    assert repr(one) in str(caught.value)
    assert repr(other) in str(caught.value)


def test_an_empty_class_is_named_and_skipped_or_fails(tmp_path: Path) -> None:
    _write(tmp_path, {"a": 5, "b": 0, "c": 5})
    dataset = load_folder(tmp_path)
    assert dataset.class_names == ("a", "c")
    assert _sizes(dataset) == [(4, 1), (4, 1)]
    message = f"{tmp_path}: skipped 1 of 3 classes, without a training image: b"
    assert dataset.notes == (message,)
    with pytest.raises(InputError, match="without a training image: b"):
        load_folder(tmp_path, strict=True)


def test_unreadable_images_are_named_counted_and_skipped_or_fail(tmp_path: Path) -> None:
    _write(tmp_path, {"a": 5, "b": 5})
    whole = (tmp_path / "a" / "000.png").read_bytes()
    (tmp_path / "a" / "half.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "b" / "text.JPG").write_text("no image")
    dataset = load_folder(tmp_path)
    assert _sizes(dataset) == [(4, 1), (4, 1)]
    half, text, count = dataset.notes
    assert half.startswith(f"{tmp_path / 'a' / 'half.png'}: cannot be read as an image")
    assert text.startswith(f"{tmp_path / 'b' / 'text.JPG'}: cannot be read as an image")
    assert count == f"{tmp_path}: skipped 2 of 12 images as unreadable"
    with pytest.raises(InputError, match=r"half\.png"):
        load_folder(tmp_path, strict=True)


def test_a_class_with_unreadable_images_only_is_skipped(tmp_path: Path) -> None:
    _write(tmp_path, {"a": 5, "b": 0})
    (tmp_path / "b" / "x.png").touch()
    dataset = load_folder(tmp_path)
    assert dataset.class_names == ("a",)
    assert "skipped 1 of 2 classes" in dataset.notes[-1]


def test_hidden_and_other_files_are_ignored_the_others_counted(tmp_path: Path) -> None:
    _write(tmp_path, {"a": 5, ".git": 3})
    (tmp_path / "README.txt").touch()
    (tmp_path / "a" / ".DS_Store").touch()
    (tmp_path / "a" / "._000.png").touch()
    assert load_folder(tmp_path, strict=True).notes == ()
    (tmp_path / "a" / "prices.csv").write_text("rex,3")
    (tmp_path / "a" / "notes").touch()
    (tmp_path / "a" / "b").mkdir()
    dataset = load_folder(tmp_path, strict=True)
    assert _sizes(dataset) == [(4, 1)]
    assert dataset.notes == (
        f"{tmp_path}: ignored 3 files and folders within classes that are no images "
        "(a/b, a/notes, a/prices.csv)",
    )


def test_an_image_is_told_by_its_content_whatever_its_name(tmp_path: Path) -> None:
    _write(tmp_path, {"a": 5})
    picture = Image.new("RGB", (8, 8))
    for name, format_name in (
        ("x.avif", "AVIF"),
        ("y.JPE", "JPEG"),
        ("z", "WEBP"),
        ("t.txt", "PNG"),
    ):
        picture.save(tmp_path / "a" / name, format_name)
    dataset = load_folder(tmp_path, strict=True)
    assert _sizes(dataset) == [(7, 2)]
    assert dataset.notes == ()


def test_a_file_named_like_an_image_that_is_none_is_unreadable(tmp_path: Path) -> None:
    _write(tmp_path, {"a": 5})
    (tmp_path / "a" / "photo.HEIC").touch()
    problem, count = load_folder(tmp_path).notes
    assert problem.startswith(f"{tmp_path / 'a' / 'photo.HEIC'}: cannot be read as an image")
    assert count == f"{tmp_path}: skipped 1 of 6 images as unreadable"
    with pytest.raises(InputError, match=r"photo\.HEIC"):
        load_folder(tmp_path, strict=True)


def test_images_beside_the_class_folders_are_named(tmp_path: Path) -> None:
    _write(tmp_path, {"a": 5})
    (tmp_path / "README.jpg").write_text("no image")
    Image.new("RGB", (3, 2)).save(tmp_path / "loose", "PNG")
    note = f"{tmp_path}: ignored 1 image beside the class folders: loose"
    assert load_folder(tmp_path).notes == (note,)
    with pytest.raises(InputError) as refusal:
        load_folder(tmp_path, strict=True)
    assert str(refusal.value) == note


def test_images_in_folders_within_classes_are_named(tmp_path: Path) -> None:
    _write(tmp_path, {"a": 5})
    _write(tmp_path / "a", {"day": 1, "night": 0, ".hidden": 1})
    _write(tmp_path / "a" / "night", {"late": 1})
    (tmp_path / "a" / "day" / "letter.txt").touch()
    (tmp_path / "a" / "empty").mkdir()
    note = (
        f"{tmp_path}: ignored 2 images in folders within classes: a/day/000.png, "
        "a/night/late/000.png"
    )
    rest = f"{tmp_path}: ignored 1 files and folders within classes that are no images (a/empty)"
    assert load_folder(tmp_path).notes == (note, rest)
    with pytest.raises(InputError) as refusal:
        load_folder(tmp_path, strict=True)
    assert str(refusal.value) == note


def test_a_root_with_loose_images_alone_names_them(tmp_path: Path) -> None:
    Image.new("RGB", (3, 2)).save(tmp_path / "loose.png")
    with pytest.raises(InputError, match=r"ignored 1 image beside the class folders: loose\.png$"):
        read_class_folders(tmp_path)


def test_classes_are_called_as_labels_are(tmp_path: Path) -> None:
    folders = {" rex ": 5, "cafe\u0301": 5}
    names = ("caf\u00e9", "rex")
    for part in ("train", "test"):
        _write(tmp_path / "both" / part, folders)
    dataset = load_folder(tmp_path / "both")
    assert sorted(dataset.class_names) == sorted(names)
    assert _sizes(dataset) == [(5, 5), (5, 5)]
    classes, _ = read_class_folders(tmp_path / "both" / "train")
    assert sorted(classes) == sorted(names)


@pytest.mark.parametrize("name", ["a\x1b[31m", " ", "\r"])
def test_a_folder_whose_name_is_no_label_is_refused(tmp_path: Path, name: str) -> None:
    _write(tmp_path, {"a": 5, name: 5})
    with pytest.raises(InputError, match="class folder ") as refusal:
        load_folder(tmp_path)
    assert repr(name) in str(refusal.value)


def test_images_are_found_wherever_they_lie(tmp_path: Path) -> None:
    _write(tmp_path, {"b": 2, ".git": 1})
    _write(tmp_path / "b", {"day": 1})
    (tmp_path / "b" / "day" / "000.png").rename(tmp_path / "b" / "day" / "picture")
    (tmp_path / "a.jpg").write_text("no image, but called so")
    (tmp_path / "letter.txt").write_text("no image")
    (tmp_path / "b" / "up").symlink_to(tmp_path)
    found = [str(path.relative_to(tmp_path)) for path in find_images(tmp_path)]
    assert found == ["a.jpg", "b/000.png", "b/001.png", "b/day/picture"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    _write(tmp_path, {"a": 5})
    os.mkfifo(tmp_path / "a" / "pipe.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    (note,) = load_folder(tmp_path).notes
    assert note.endswith("that are no images (a/pipe.jpg)")


def test_links_are_followed_and_loops_are_not(tmp_path: Path) -> None:
    root = _write(tmp_path / "root", {"a": 5})
    _write(tmp_path / "elsewhere", {"real": 5})
    (root / "b").symlink_to(tmp_path / "elsewhere" / "real")
    (root / "a" / "up").symlink_to(root)
    assert _sizes(load_folder(root, strict=True)) == [(4, 1), (4, 1)]

    (root / "loop").symlink_to(root / "loop")
    (root / "a" / "self.png").symlink_to(root / "a" / "self.png")
    dataset = load_folder(root)
    assert _sizes(dataset) == [(4, 1), (4, 1)]
    assert f"{root / 'loop'}: a link that leads nowhere" in dataset.notes
    assert any(str(root / "a" / "self.png") in note for note in dataset.notes)
    with pytest.raises(InputError, match="leads nowhere"):
        load_folder(root, strict=True)


@pytest.mark.parametrize("classes", [{}, {"a": 0}])
def test_a_root_without_images_says_what_is_expected(
    tmp_path: Path, classes: dict[str, int]
) -> None:
    with pytest.raises(InputError, match=r"no class folder with a readable image; .*ROOT/CLASS"):
        load_folder(_write(tmp_path, classes))


def test_a_root_that_is_no_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="absent: cannot be listed"):
        load_folder(tmp_path / "absent")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file: cannot be read as an uncompressed tar"):
        load_folder(tmp_path / "file")


def _imagenet_r(root: Path, classes: int = 200) -> Path:
    source = _write(root / "source", {"image": 1}) / "image" / "000.png"
    for number in range(classes):
        folder = root / "imagenet-r" / f"n{number:08d}"
        folder.mkdir(parents=True)
        for index in range(5):
            os.link(source, folder / f"{index}.png")
    return root / "imagenet-r"


def test_imagenet_r(tmp_path: Path) -> None:
    root = _imagenet_r(tmp_path)
    (root / "README.txt").touch()
    dataset = load_imagenet_r(root)
    assert (dataset.name, dataset.classes_per_task) == ("imagenet-r", 20)
    assert (dataset.class_names[0], dataset.class_names[-1]) == ("n00000000", "n00000199")
    assert _sizes(dataset) == [(4, 1)] * 200


def test_another_folder_is_not_imagenet_r(tmp_path: Path) -> None:
    root = _imagenet_r(tmp_path, 199)
    with pytest.raises(InputError, match="holds 199 class folders; "):
        load_imagenet_r(root)
    (root / "goldfish").mkdir()
    with pytest.raises(InputError, match="holds 200 class folders, among them 'goldfish'; "):
        load_imagenet_r(root)
