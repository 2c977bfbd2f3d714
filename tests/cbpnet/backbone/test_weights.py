"""Weights files: what is read, and what is refused with one sentence."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from cbpnet.backbone.weights import read_weights
from cbpnet.host.errors import InputError

STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(3)}


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt", "w.pth", "w.bin"])
def test_every_format_is_read_exactly(tmp_path: Path, name: str) -> None:
    save: Callable[[Any, Path], None] = save_file if name == "w.safetensors" else torch.save
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


def test_another_format_is_refused_by_its_ending(tmp_path: Path) -> None:
    (tmp_path / "w.npz").write_bytes(b"")
    with pytest.raises(InputError, match=r"w\.npz must end in one of \.safetensors, \.pt"):
        read_weights(tmp_path / "w.npz")


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
