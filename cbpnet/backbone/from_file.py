"""A timm model with the weights of a file, whoever saved it under whichever names."""

import re
import textwrap
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cbpnet.backbone.torchvision_compat import import_timm
from cbpnet.backbone.weights import is_numpy_archive, read_weights
from cbpnet.host.errors import InputError
from cbpnet.host.text import listed

__all__ = ["create_from_file"]

timm = import_timm()

_CLASSIFIERS = ("head.", "head_dist.")
_LINEAR_CLASSIFIER = {"head.weight", "head.bias"}
_DISTILLED = "dist_token"
_NAMED = 3  # of a list of names
_LONGEST = 400  # characters of a reason


def create_from_file(name: str, weights: Path, arguments: dict[str, Any]) -> Any:
    """Return the timm model of a name and arguments with the weights of a file.

    Beside what `read_weights` reads that is Google's .npz, as its JAX models are published. Where
    all names have one prefix before the model's own, as Lightning's "model.", it is left out.

    Raises:
        InputError: the file cannot be read, or does not fit the model.
    """
    if is_numpy_archive(weights):
        return _from_numpy(name, weights, arguments)
    with torch.device("meta"):
        names = timm.create_model(name).state_dict().keys()
    state = _without_prefix(read_weights(weights), names)
    if _DISTILLED in state and _DISTILLED not in names:
        raise InputError(
            f"weights file {weights} does not fit {name}: it is of a distilled model, with a "
            f"{_DISTILLED}; name that model, as deit_tiny_distilled_patch16_224"
        )
    classifier = {key for key in state if key.startswith(_CLASSIFIERS)}
    classes = 0
    if classifier == _LINEAR_CLASSIFIER:
        classes = len(state["head.weight"])
    else:
        state = {key: value for key, value in state.items() if key not in classifier}
    # With the same number of classes on both sides timm's loading is strict.
    source = {"state_dict": state, "num_classes": classes}
    arguments |= {"num_classes": classes, "pretrained_cfg_overlay": source}
    try:
        vit = timm.create_model(name, pretrained=True, **arguments)
    except Exception as error:  # timm's conversion of a foreign file may fail anywhere
        raise _misfit(name, weights, error) from error
    del vit.pretrained_cfg["state_dict"]  # or the file's tensors would live as long as the model
    return vit


def _from_numpy(name: str, weights: Path, arguments: dict[str, Any]) -> Any:
    try:
        with np.load(weights, allow_pickle=False) as arrays:
            classes = [len(arrays[key]) for key in arrays.files if key.endswith("head/bias")]
        vit = timm.create_model(name, num_classes=sum(classes), **arguments)
        vit.load_pretrained(str(weights))
    except Exception as error:  # as above
        raise _misfit(name, weights, error) from error
    return vit


def _without_prefix(state: dict[str, Tensor], names: Collection[str]) -> Mapping[str, Tensor]:
    """Return the tensors that have a prefix before names of the model, under those names."""
    if any(key in names for key in state):
        return state
    prefixes = Counter(
        key.removesuffix(name) for key in state for name in names if key.endswith(f".{name}")
    )
    if not prefixes:
        return state
    ((prefix, _),) = prefixes.most_common(1)
    return {k.removeprefix(prefix): value for k, value in state.items() if k.startswith(prefix)}


def _misfit(name: str, weights: Path, error: Exception) -> InputError:
    """Return what does not fit, with the first names of each of torch's long lists."""
    parts = [re.sub(r'"[^"]+"(, "[^"]+")+', _first_names, line) for line in str(error).split("\n")]
    reason = textwrap.shorten(" ".join(parts), _LONGEST, placeholder=" ...")
    return InputError(f"weights file {weights} does not fit {name}: {reason}")


def _first_names(names: re.Match[str]) -> str:
    return listed(names[0].split(", "), _NAMED)
