"""The features of an image that a learner may ask a backbone for, by name.

- "pooled": what timm hands to its classifier, [B, D]; always asked for, and first.
- "patches": the mean of the patch tokens after the final norm, [B, D].
- "block3", or of another block, counted from 0: the mean of the patch tokens that it gives, with
  layer norm without scale and shift, [B, D].
- "logits": what the pretrained classifier makes of "pooled", [B, its classes].
- "random": random features of "pooled" in its place, where there is none, [B, 1000].
"""

import re
from collections.abc import Sequence

from cbpnet.host.errors import InputError

__all__ = ["ON_POOLED", "FeatureName", "block_number", "check_features", "check_prepared"]

FeatureName = str

ON_POOLED = ("logits", "random")  # what a linear layer makes of "pooled"

_NAMES = ("pooled", "patches", *ON_POOLED)
_BLOCK = re.compile(r"block(0|[1-9]\d*)", re.ASCII)


def block_number(name: FeatureName) -> int | None:
    """Return the block, counted from 0, whose patch tokens a feature is the mean of, or None."""
    found = _BLOCK.fullmatch(name)
    return None if found is None else int(found[1])


def check_features(names: Sequence[FeatureName]) -> None:
    """Raise `InputError` unless "pooled" comes first, and each name is one, given once."""
    for place, name in enumerate(names):
        if name not in _NAMES and block_number(name) is None:
            raise InputError(
                f"feature {name!r} is unknown; it must be pooled, patches, logits, random, or "
                "block0, block1 and so on"
            )
        if name in names[:place]:
            raise InputError(f"feature {name!r} is named twice; once is right")
    if not names or names[0] != "pooled":
        raise InputError(f"features are {', '.join(names) or 'none'}; the first must be pooled")


def check_prepared(names: Sequence[FeatureName], prepared: Sequence[FeatureName]) -> None:
    """Raise `InputError` for a name that is not among those that a trunk was made to compute."""
    for name in names:
        if name not in prepared:
            raise InputError(
                f"feature {name!r} was not asked for when the trunk was made; it computes "
                f"{', '.join(prepared)}"
            )
