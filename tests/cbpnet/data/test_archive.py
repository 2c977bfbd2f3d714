"""Class folders in a tar are read where they are, whatever else it holds."""

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cbpnet.data.archive import open_archive
from cbpnet.data.catalogue import load_dataset
from cbpnet.data.folder import load_folder
from cbpnet.host.errors import InputError


def write_folder(root: Path) -> Path:
    """Two classes, split; every image has a colour of its own."""
    number = 0
    for part, count in (("train", 4), ("test", 2)):
        for name in ("cat", "dog"):
            (root / part / name).mkdir(parents=True)
            for index in range(count):
                number += 1
                Image.new("RGB", (3, 2), (number, index, 0)).save(
                    root / part / name / f"{index}.png"
                )
    return root


def pack(root: Path, path: Path, arcname: str, mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:
        archive.add(root, arcname)
    return path


@pytest.mark.parametrize("arcname", ["pets", ".", "./pets"])
def test_a_tar_is_the_folder_that_was_packed(tmp_path: Path, arcname: str) -> None:
    folder = write_folder(tmp_path / "pets")
    packed = pack(folder, tmp_path / "pets.tar", arcname)
    expected, found = load_folder(folder), load_dataset("folder", packed)
    assert (found.name, found.class_names) == ("pets", ("cat", "dog"))
    assert found.notes == expected.notes == ()
    for ours, theirs in ((found.train, expected.train), (found.test, expected.test)):
        assert ours.labels.tolist() == theirs.labels.tolist()
        for index in range(len(theirs)):
            assert np.array_equal(ours.image(index), theirs.image(index))
            assert Path(ours.name(index)).name == Path(theirs.name(index)).name
            assert ours.name(index).startswith(str(packed))


def test_a_tar_of_class_folders_alone_is_split(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "pets") / "train"
    found = load_folder(pack(folder, tmp_path / "animals.tar", "."))
    assert (found.name, len(found.train), len(found.test)) == ("animals", 6, 2)


def test_links_devices_and_names_that_lead_out_are_left_out(tmp_path: Path) -> None:
    path = pack(write_folder(tmp_path / "pets"), tmp_path / "pets.tar", "pets")
    content = (tmp_path / "pets/train/cat/0.png").read_bytes()
    with tarfile.open(path, "a") as archive:
        for name in ("../out.png", "/etc/out.png", "pets/train/cat/../../../../out.png"):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE):
            member = tarfile.TarInfo(f"pets/train/cat/odd{int(kind)}.png")
            member.type, member.linkname = kind, "/etc/passwd"
            archive.addfile(member)
    assert len(load_folder(path).train) == 8


def test_a_broken_image_in_a_tar_is_named_and_skipped(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "pets")
    (folder / "train/cat/9.png").write_bytes(b"no image")
    found = load_folder(pack(folder, tmp_path / "pets.tar", "pets"))
    assert len(found.train) == 8
    assert "pets.tar/pets/train/cat/9.png: cannot be read as an image" in found.notes[0]


@pytest.mark.parametrize("content", [b"", b"a letter to grandmother", bytes(5000)])
def test_another_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "pets.tar"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"pets\.tar: (cannot be read as an|holds no class)"):
        load_folder(path)


def test_a_compressed_tar_is_refused(tmp_path: Path) -> None:
    packed = pack(write_folder(tmp_path / "pets"), tmp_path / "pets.tar.gz", "pets", "w:gz")
    with pytest.raises(InputError, match="uncompressed tar"):
        load_folder(packed)


def test_paths_answer_as_those_of_the_folder(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "pets")
    root = open_archive(pack(folder, tmp_path / "pets.tar", "pets"))
    for inner in ("train", "train/cat", "train/cat/0.png", "gone", "train/gone.png"):
        ours, theirs = root / inner, folder / inner
        assert (ours.exists(), ours.is_dir()) == (theirs.exists(), theirs.is_dir())
        assert (ours.name, ours.suffix, ours.parent.name) == (
            theirs.name,
            theirs.suffix,
            theirs.parent.name,
        )
    names = {path.name for path in (root / "train" / "dog").iterdir()}
    assert names == {path.name for path in (folder / "train" / "dog").iterdir()}
