"""Data sets that are folders of class folders, or a tar of one; ImageNet-R among them."""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from cbpnet.data.archive import ArchivePath, open_archive
from cbpnet.data.dataset import Dataset
from cbpnet.data.decoding import NotAnImageError, decode_image, is_image
from cbpnet.data.images import FileImages
from cbpnet.data.labels import fold_label, tidy_label
from cbpnet.data.sampling import split_class
from cbpnet.host.errors import InputError
from cbpnet.host.text import counted, listed

__all__ = ["Progress", "find_images", "load_folder", "load_imagenet_r", "read_class_folders"]

Progress = Callable[[Sequence[Any]], Iterable[Any]]

_Place = TypeVar("_Place", Path, ArchivePath)

# A file so named that is no image is an error; any other may lie beside images.
_IMAGE_SUFFIX = re.compile(r"\.(avif|bmp|gif|hei[cf]|jfif|jp2|jpe?g?|p[gp]m|png|tiff?|webp)", re.I)
_LAYOUTS = "right would be ROOT/CLASS/*.jpg, or ROOT/train/CLASS/*.jpg with ROOT/test/CLASS/*.jpg"
_WORDNET_ID = re.compile(r"n\d{8}")


def load_folder(
    root: Path,
    *,
    test_fraction: float = 0.2,
    seed: int = 0,
    strict: bool = False,
    progress: Progress = iter,
) -> Dataset:
    """Take each folder in `root` as a class, and the image files in it as its images.

    `root` is a folder, or an uncompressed tar of one, which is read where it is. Where it holds the
    folders train and test (or, without test, val), they are the split; otherwise each class is
    split alone, by `seed` and its name, `test_fraction` of it for test. Classes are in alphabetical
    order, and called as their folders are, by `tidy_label`. Hidden files are ignored. What is an
    image is told by its content; other files and folders within a class are counted in the notes.

    Every image is decoded once here, so that none fails later; `progress` may wrap the list of
    paths (tqdm does). Unreadable images, files that are no image but have the suffix of one, broken
    links, images beside the class folders or in folders within them, and classes without a readable
    image are named in the notes and skipped, or raise InputError if `strict`. A class of one image
    is trained on and has no test image, which the notes say.

    Raises InputError for a root without classes, for classes of the test folder that the training
    folder lacks, for a name that is no label, and for two classes whose names differ in case or
    Unicode form only: a state with both could not travel to a device that takes them for one
    folder.
    """
    if root.is_file():
        return _load(open_archive(root), test_fraction, seed, _Findings(strict), progress)
    return _load(root, test_fraction, seed, _Findings(strict), progress)


def _load(
    root: _Place, test_fraction: float, seed: int, findings: "_Findings", progress: Progress
) -> Dataset:
    folders = _class_folders(root, findings)
    held_out = _held_out_folder(root, folders)
    if held_out is None:
        images = _read_classes(root, folders, findings, progress)
        train, test = _split(images, test_fraction, seed)
    else:
        train, test = _read_both(root / "train", held_out, findings, progress)
        unused = {folder.name for folder in folders} - {"train", held_out.name}
        if unused:
            findings.notes.append(
                f"{root}: only train and {held_out.name} are used, not {_listing(unused)}"
            )

    empty = [name for name, paths in train.items() if not paths]
    if empty:
        findings.problem(
            f"{root}: skipped {len(empty)} of {len(train)} classes, without a training image: "
            f"{_listing(empty)}"
        )
    class_names = tuple(name for name, paths in train.items() if paths)
    if not class_names:
        raise findings.nothing(root, _LAYOUTS)
    untested = [name for name in class_names if not test.get(name)]
    if untested:
        findings.notes.append(
            f"{root}: {len(untested)} of {len(class_names)} classes have no test image: "
            f"{_listing(untested)}"
        )
    return Dataset(
        name=root.resolve().name,
        class_names=class_names,
        train=_source(train, class_names),
        test=_source(test, class_names),
        classes_per_task=min(len(class_names), max(2, math.ceil(len(class_names) / 10))),
        notes=tuple(findings.notes),
    )


def read_class_folders(
    root: Path, *, strict: bool = False, progress: Progress = iter
) -> tuple[dict[str, list[Path]], tuple[str, ...]]:
    """Return the image files of each class folder in `root`, and notes for the user.

    As `load_folder`, without any split: all images are for the same purpose.
    Raises InputError for a root without a class folder that holds a readable image, and what
    `load_folder` raises.
    """
    findings = _Findings(strict)
    try:
        images = _read_classes(root, _class_folders(root, findings), findings, progress)
    except OSError as error:  # what lies within cannot even be looked at
        raise InputError(
            f"{error.filename}: cannot be read ({error.strerror}); right would be folders and "
            "pictures that this program may read"
        ) from error
    empty = [name for name, paths in images.items() if not paths]
    if empty:
        findings.problem(
            f"{root}: skipped {len(empty)} of {len(images)} classes, without a readable image: "
            f"{_listing(empty)}"
        )
    found = {name: paths for name, paths in images.items() if paths}
    if not found:
        raise findings.nothing(root, "right would be ROOT/CLASS/*.jpg")
    return found, tuple(findings.notes)


def find_images(folder: _Place) -> Iterator[_Place]:
    """Yield the image files in a folder and in the folders within it, by name.

    What is an image is told by its content; a file that has the suffix of one is among them, too.
    Hidden files are left out, and a folder that links lead back to is looked into once.

    Raises InputError for a folder that cannot be listed.
    """
    return _images_within(folder, set())


def _images_within(folder: _Place, seen: set[str]) -> Iterator[_Place]:
    """Yield the images of `find_images`, but for those in folders that were ``seen``."""
    if (real := str(folder.resolve())) in seen:
        return
    seen.add(real)
    for entry in _visible(folder):
        if entry.is_dir():
            yield from _images_within(entry, seen)
        elif entry.is_file() and (_IMAGE_SUFFIX.fullmatch(entry.suffix) or is_image(entry)):
            yield entry


def load_imagenet_r(root: Path, *, strict: bool = False, progress: Progress = iter) -> Dataset:
    """Take ImageNet-R's folder of 200 WordNet classes, a fixed fifth of each class for test.

    Source: Hendrycks et al., ICCV 2021, arXiv:2006.16241. The data set has no official split;
    the 24,000 and 6,000 images that DualPrompt made of it are met up to rounding in each class.
    Raises InputError for a folder with other classes, and what `load_folder` raises.
    """
    names = [folder.name for folder in _class_folders(root, _Findings(strict=False))]
    foreign = [name for name in names if not _WORDNET_ID.fullmatch(name)]
    if len(names) != 200 or foreign:
        example = f", among them {foreign[0]!r}" if foreign else ""
        raise InputError(
            f"{root}: holds {len(names)} class folders{example}; right would be ImageNet-R's 200 "
            "folders, n01443537 and so on"
        )
    dataset = load_folder(root, test_fraction=0.2, seed=0, strict=strict, progress=progress)
    return replace(dataset, name="imagenet-r", classes_per_task=20)


@dataclass
class _Findings:
    """What the user has to know of a folder; a problem is an error if `strict`."""

    strict: bool
    notes: list[str] = field(default_factory=list)

    def problem(self, sentence: str) -> None:
        if self.strict:
            raise InputError(sentence)
        self.notes.append(sentence)

    def nothing(self, root: _Place, right: str) -> InputError:
        """Return the error for a root without classes, with the first thing that was found."""
        found = f"; {self.notes[0]}" if self.notes else ""
        return InputError(f"{root}: holds no class folder with a readable image; {right}{found}")


def _visible(folder: _Place) -> list[_Place]:
    try:
        entries = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    except OSError as error:
        raise InputError(f"{folder}: cannot be listed ({error.strerror}); {_LAYOUTS}") from error
    return sorted(entries, key=lambda entry: entry.name)


def _class_folders(root: _Place, findings: _Findings) -> list[_Place]:
    folders: list[_Place] = []
    loose: list[str] = []
    for entry in _visible(root):
        if entry.is_dir():
            folders.append(entry)
        elif _leads_nowhere(entry):
            findings.problem(f"{entry}: a link that leads nowhere")
        elif entry.is_file() and is_image(entry):
            loose.append(entry.name)
    if loose:
        findings.problem(
            f"{root}: ignored {counted(len(loose), 'image')} beside the class folders: "
            f"{listed(loose)}"
        )
    return folders


def _leads_nowhere(entry: _Place) -> bool:
    return entry.is_symlink() and not entry.exists()


def _held_out_folder(root: _Place, folders: Sequence[_Place]) -> _Place | None:
    """The folder of test images, where `root` comes already split."""
    names = {folder.name for folder in folders}
    if "train" not in names or not any(entry.is_dir() for entry in _visible(root / "train")):
        return None
    return next((root / name for name in ("test", "val") if name in names), None)


def _read_both(
    training: _Place, held_out: _Place, findings: _Findings, progress: Progress
) -> tuple[dict[str, list[_Place]], dict[str, list[_Place]]]:
    training_folders, held_out_folders = (
        _class_folders(part, findings) for part in (training, held_out)
    )
    known = {tidy_label(folder.name, f"{training}: class folder") for folder in training_folders}
    unknown = {f.name for f in held_out_folders if tidy_label(f.name) not in known}
    if unknown:
        raise InputError(
            f"{held_out}: {_listing(unknown)} has no folder of the same name in {training}; "
            "right would be the same classes in both"
        )
    return (
        _read_classes(training, training_folders, findings, progress),
        _read_classes(held_out, held_out_folders, findings, progress),
    )


def _read_classes(
    root: _Place, folders: Sequence[_Place], findings: _Findings, progress: Progress
) -> dict[str, list[_Place]]:
    """The readable images of each class folder, an empty list for a class that has none."""
    _check_names_differ(root, folders)
    labels = {folder.name: tidy_label(folder.name, f"{root}: class folder") for folder in folders}
    files: list[_Place] = []
    others: list[_Place] = []
    for entry in (entry for folder in folders for entry in _visible(folder)):
        (files if entry.is_file() or _leads_nowhere(entry) else others).append(entry)
    classes: dict[str, list[_Place]] = {label: [] for label in labels.values()}
    unreadable = 0
    for path in progress(files):
        try:
            decode_image(path, least=1)
        except InputError as error:
            if isinstance(error, NotAnImageError) and not _IMAGE_SUFFIX.fullmatch(path.suffix):
                others.append(path)
            else:
                unreadable += 1
                findings.problem(str(error))
        else:
            classes[labels[path.parent.name]].append(path)
    if unreadable:
        images = unreadable + sum(map(len, classes.values()))
        findings.notes.append(f"{root}: skipped {unreadable} of {images} images as unreadable")
    _note_the_rest(root, folders, others, findings)
    return classes


def _note_the_rest(
    root: _Place, folders: Sequence[_Place], others: Sequence[_Place], findings: _Findings
) -> None:
    """Say what is within classes and none of their images: images in folders, and other things."""
    seen = {str(root.resolve()), *(str(folder.resolve()) for folder in folders)}
    nested: list[str] = []
    rest: list[str] = []
    for entry in others:
        name = f"{entry.parent.name}/{entry.name}"
        within = list(_images_within(entry, seen)) if entry.is_dir() else []
        nested += [f"{name}{str(image).removeprefix(str(entry))}" for image in within]
        if not within:
            rest.append(name)
    if nested:
        findings.problem(
            f"{root}: ignored {counted(len(nested), 'image')} in folders within classes: "
            f"{listed(sorted(nested))}"
        )
    if rest:
        findings.notes.append(
            f"{root}: ignored {len(rest)} files and folders within classes that are no images "
            f"({listed(sorted(rest))})"
        )


def _check_names_differ(root: _Place, folders: Sequence[_Place]) -> None:
    seen: dict[str, str] = {}
    for name in (folder.name for folder in folders):
        other = seen.setdefault(fold_label(name), name)
        if other != name:
            raise InputError(
                f"{root}: classes {other!r} and {name!r} differ in case or Unicode form only; "
                "right would be to merge them or to rename one"
            )


def _split(
    images: dict[str, list[_Place]], test_fraction: float, seed: int
) -> tuple[dict[str, list[_Place]], dict[str, list[_Place]]]:
    train: dict[str, list[_Place]] = {}
    test: dict[str, list[_Place]] = {}
    for name, paths in images.items():
        kept, held_out = split_class(len(paths), test_fraction, seed, name)
        train[name] = [paths[index] for index in kept]
        test[name] = [paths[index] for index in held_out]
    return train, test


def _source(images: dict[str, list[_Place]], class_names: Sequence[str]) -> FileImages:
    parts = [images.get(name, []) for name in class_names]
    labels = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    return FileImages([path for part in parts for path in part], labels.astype(np.int64))


def _listing(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
