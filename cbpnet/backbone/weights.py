"""Reading a backbone's weights from a file, without running anything that the file contains."""

import argparse
import zipfile
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from cbpnet.backbone.torchvision_compat import import_timm
from cbpnet.host.errors import InputError

__all__ = ["is_numpy_archive", "read_weights"]

timm = import_timm()

_STATE_DICTS = ("state_dict_ema", "model_ema", "state_dict", "model")
_RIGHT = "right would be a safetensors file, a torch checkpoint, or Google's .npz"


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a state dict from a safetensors file or a torch checkpoint, told by the content.

    A checkpoint may hold the state dict under "state_dict", "model" or their "_ema" forms, and its
    names may carry the prefixes of DataParallel and torch.compile, as timm reads them. Torch
    checkpoints are read with `weights_only`.

    Raises:
        InputError: the file is missing, truncated, of another format, a pickle with code, or has
            values that are no finite numbers.
    """
    if not path.is_file():
        raise InputError(f"weights file {path} does not exist or is not a file")
    start = _start(path)
    is_safetensors = start[8:9] == b"{"
    if not is_safetensors:
        _refuse_what_is_no_checkpoint(path, start)
    try:
        found = load_file(path) if is_safetensors else _load_checkpoint(path)
        state = timm.models.clean_state_dict(found)
    except Exception as error:  # a damaged or foreign file may fail anywhere in its reader
        kind = "safetensors file" if is_safetensors else "torch checkpoint"
        raise InputError(
            f"weights file {path} cannot be read as a {kind} of tensors: {_reason(error)}"
        ) from error
    foreign = [name for name, value in state.items() if not isinstance(value, Tensor)]
    if foreign or not state:
        found = f"entry {foreign[0]!r} is not a tensor" if foreign else "it is empty"
        raise InputError(f"weights file {path} must hold a state dict of tensors, but {found}")
    for name, value in state.items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise InputError(
                f"weights file {path} has NaN or infinity in {name}; right would be finite numbers"
            )
    return dict(state)


def is_numpy_archive(path: Path) -> bool:
    """Return whether a file is an .npz: a zip of arrays."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith(".npy") for name in archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(64)


def _load_checkpoint(path: Path) -> Any:
    """Return the state dict in a torch checkpoint, an averaged one where there are two."""
    # timm's training leaves its arguments there. Of an open file torch does not ask the suffix.
    with path.open("rb") as file, torch.serialization.safe_globals([argparse.Namespace]):
        found = torch.load(file, map_location="cpu", weights_only=True)
    held = (found[name] for name in _STATE_DICTS if found.get(name) is not None)
    return next(held, found)


def _refuse_what_is_no_checkpoint(path: Path, start: bytes) -> None:
    """Raise `InputError` for what often lies in a checkpoint's place."""
    if start.startswith(b"version https://git-lfs"):
        raise InputError(
            f"weights file {path} is a Git LFS pointer in the file's place; `git lfs pull` "
            "fetches the file itself"
        )
    if start.lstrip()[:1] == b"<":
        raise InputError(
            f"weights file {path} is a web page, as a download leaves it that has failed; {_RIGHT}"
        )
    if is_numpy_archive(path):
        raise InputError(
            f"weights file {path} is an archive of numpy arrays, not of tensors; {_RIGHT}"
        )


def _reason(error: Exception) -> str:
    reason = " ".join(str(error).split()).rstrip(".")
    if "GLOBAL" in reason:  # and torch's advice is to run it
        return (
            "it holds Python objects, whose code is not run; save the tensors alone, "
            "torch.save(model.state_dict(), path)"
        )
    shown = "" if "weights_only" in reason else f" ({reason})"
    return f"it is damaged or in another format{shown}; {_RIGHT}"
