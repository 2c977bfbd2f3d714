"""Which of timm's models are served: the table of families."""

from torch import nn

from cbpnet.backbone.architecture import Family
from cbpnet.backbone.families import attention_pooled, plain, rotary
from cbpnet.host.errors import InputError

__all__ = ["FAMILIES", "family_of"]

FAMILIES = (plain.FAMILY, attention_pooled.FAMILY, rotary.FAMILY)


def family_of(name: str, vit: nn.Module) -> Family:
    """Return the family that describes a model.

    Raises InputError, with the reason and the model's ``name``, where none does.
    """
    obstacles = []
    for family in FAMILIES:
        if type(vit) in family.models:
            obstacle = family.obstacle(vit)
            if obstacle is None:
                return family
            obstacles.append(obstacle)
    reasons = dict.fromkeys(obstacles) or [f"it is a {type(vit).__name__}, of no family served"]
    raise InputError(f"backbone {name!r} cannot be served: {'; '.join(reasons)}")
