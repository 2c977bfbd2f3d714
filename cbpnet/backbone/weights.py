"""Reading a backbone's weights from a file, without running anything that the file contains."""

from pathlib import Path

from torch import Tensor

from cbpnet.backbone.torchvision_compat import import_timm
from cbpnet.host.errors import InputError

__all__ = ["read_weights"]

timm = import_timm()

_SUFFIXES = (".safetensors", ".pt", ".pth", ".bin")


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a state dict from a safetensors file or a torch checkpoint.

    A checkpoint may hold the state dict under "state_dict", "model" or their "_ema" forms, and its
    names may carry the prefixes of DataParallel and torch.compile, as timm reads them. Torch
    checkpoints are read with `weights_only`.

    Raises:
        InputError: the file is missing, truncated, of another format, or is a pickle with code.
    """
    if not path.is_file():
        raise InputError(f"weights file {path} does not exist or is not a file")
    if path.suffix not in _SUFFIXES:
        raise InputError(f"weights file {path} must end in one of {', '.join(_SUFFIXES)}")
    try:
        state = timm.models.load_state_dict(str(path))
    except Exception as error:  # a damaged or foreign file may fail anywhere in its reader
        reason = " ".join(str(error).split()).rstrip(".")
        raise InputError(
            f"weights file {path} cannot be read as a {path.suffix} file of tensors: {reason}"
        ) from error
    foreign = [name for name, value in state.items() if not isinstance(value, Tensor)]
    if foreign or not state:
        found = f"entry {foreign[0]!r} is not a tensor" if foreign else "it is empty"
        raise InputError(f"weights file {path} must hold a state dict of tensors, but {found}")
    return dict(state)
