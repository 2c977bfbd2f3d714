"""Weights files: what is read, and what is refused with one sentence."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from cbpnet.backbone.weights import read_weights
from cbpnet.host.errors import InputError

STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(3)}


@pytest.mark.parametrize("save", [save_file, torch.save])
@pytest.mark.parametrize("name", ["w.pt", "w.pth.tar", "w.ckpt", "w.SAFETENSORS", "w"])
def test_a_format_is_told_by_its_content(
    tmp_path: Path, name: str, save: Callable[[Any, Path], None]
) -> None:
    save(STATE, tmp_path / name)
    read = read_weights(tmp_path / name)
    assert read.keys() == STATE.keys()
    assert all(torch.equal(read[key], STATE[key]) for key in STATE)


@pytest.mark.parametrize("entry", ["model", "state_dict", "model_ema", "state_dict_ema"])
def test_a_training_checkpoint_gives_its_state_dict(tmp_path: Path, entry: str) -> None:
    torch.save({entry: STATE, "epoch": 7}, tmp_path / "w.pth")
    assert read_weights(tmp_path / "w.pth").keys() == STATE.keys()


def test_names_lose_the_prefix_of_a_parallel_model(tmp_path: Path) -> None:
    torch.save({f"module.{key}": value for key, value in STATE.items()}, tmp_path / "w.pth")
    assert read_weights(tmp_path / "w.pth").keys() == STATE.keys()


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.pt does not exist"):
        read_weights(tmp_path / "absent.pt")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a file"):
        read_weights(tmp_path)


def of_arrays(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, a=np.ones(2))


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (Path.touch, "cannot be read as a torch checkpoint"),
        (lambda path: path.write_text("a letter"), "it is damaged or in another format"),
        (lambda path: path.write_text("\n<html>404</html>"), "is a web page, as a download leaves"),
        (
            lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\n"),
            "git lfs",
        ),
        (of_arrays, "is an archive of numpy arrays, not of tensors"),
        (lambda path: torch.save(torch.nn.Linear(2, 2), path), "Python objects, whose code is not"),
    ],
)
@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".npz"])
def test_what_is_none_says_what_it_is(
    tmp_path: Path, make: Callable[[Path], object], reason: str, suffix: str
) -> None:
    path = tmp_path / f"w{suffix}"
    make(path)
    with pytest.raises(InputError, match=reason) as refusal:
        read_weights(path)
    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert "weights_only" not in str(refusal.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(tmp_path: Path, value: float) -> None:
    save_file(STATE | {"a.bias": torch.tensor([1, value, 1])}, tmp_path / "w.safetensors")
    with pytest.raises(InputError, match=r"has NaN or infinity in a\.bias; right would be finite"):
        read_weights(tmp_path / "w.safetensors")


@pytest.mark.parametrize("kept", [0, 7, 100, -1])
@pytest.mark.parametrize("name", ["w.safetensors", "w.pt"])
def test_a_truncated_file_is_refused(tmp_path: Path, name: str, kept: int) -> None:
    path = tmp_path / name
    save: Callable[[Any, Path], None] = save_file if name == "w.safetensors" else torch.save
    save(STATE, path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InputError, match="cannot be read") as caught:
        read_weights(path)
    assert "\n" not in str(caught.value)


class _Touch:
    """Pickles as a call that creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize(
    "save", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))]
)
def test_a_pickle_with_code_is_refused_and_not_run(
    tmp_path: Path, save: Callable[[Any, Path], object]
) -> None:
    marker = tmp_path / "was run"
    save({"a": _Touch(marker)}, tmp_path / "w.pt")
    with pytest.raises(InputError, match="cannot be read"):
        read_weights(tmp_path / "w.pt")
    assert not marker.exists()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({}, "it is empty"),
        ({"epoch": 3}, "entry 'epoch' is not a tensor"),
        (torch.ones(2), "cannot be read"),
    ],
)
def test_what_is_no_state_dict_is_refused(tmp_path: Path, content: object, reason: str) -> None:
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(InputError, match=reason):
        read_weights(tmp_path / "w.pt")
