"""The features that a one-pass learner counts: parts of one forward pass, by name.

| name | what it is | size |
|---|---|--:|
| `pooled` | what timm's classifier is given: the class token, or a mean | D |
| `patches` | the mean patch token after the final norm | D |
| `block9` | the mean patch token after block 9, counted from 0, layer-normalised | D |
| `logits1000` | the pretrained classifier's first 1,000 logits, rectified | 1,000 |
| `random1000` | 1,000 random projections of `pooled`, rectified, as in RanPAC | 1,000 |

RanPAC is arXiv:2307.02251.
"""

import re
from collections.abc import Sequence

from cbpnet.host.errors import InputError

__all__ = [
    "check_features",
    "check_prepared",
    "feature_number",
    "feature_size",
    "is_rectified",
    "with_classifier",
]

_PLAIN = ("pooled", "patches")
_NUMBERED = re.compile(r"(block|logits|random)(0|[1-9][0-9]{0,4})")


def check_features(names: Sequence[str]) -> None:
    """Raise `InputError` unless names are features, each once, and `pooled` the first."""
    for name in names:
        if name not in _PLAIN and not _NUMBERED.fullmatch(name):
            raise InputError(
                f"feature {name!r} does not exist; it must be pooled, patches, block9 (or another "
                "block), logits1000 or random1000 (or another number of them)"
            )
    if tuple(names[:1]) != ("pooled",):
        raise InputError(f"features are {', '.join(names)}; the first must be pooled")
    if len(set(names)) < len(names):
        raise InputError(f"features are {', '.join(names)}; each must be named once")


def check_prepared(names: Sequence[str], prepared: Sequence[str]) -> None:
    """Raise `InputError` for a name that is not among those that a trunk was made to compute."""
    for name in names:
        if name not in prepared:
            raise InputError(
                f"feature {name!r} was not asked for when the trunk was made; it computes "
                f"{', '.join(prepared)}"
            )


def feature_number(kind: str, name: str) -> int | None:
    """Return the number in a feature's name, 9 in "block9", where it is of that kind."""
    found = _NUMBERED.fullmatch(name)
    return int(found[2]) if found and found[1] == kind else None


def feature_size(name: str, dim: int) -> int:
    """Return a feature's size on a backbone of width D."""
    found = _NUMBERED.fullmatch(name)
    return int(found[2]) if found and found[1] != "block" else dim


def with_classifier(names: Sequence[str], logits: int) -> tuple[str, ...]:
    """Return names, and all of a classifier's ``logits``, of which there may be none."""
    whole = (f"logits{logits}",) if logits else ()
    return (*names, *(name for name in whole if name not in names))


def is_rectified(name: str) -> bool:
    """Return whether a feature is logits or projections, of which the positive part counts."""
    return any(feature_number(kind, name) is not None for kind in ("logits", "random"))
