"""Which of timm's models are served: the table of families."""

from torch import nn

from cbpnet.backbone.architecture import Family
from cbpnet.backbone.families import plain
from cbpnet.host.errors import InputError

__all__ = ["FAMILIES", "family_of"]

FAMILIES = (plain.FAMILY,)


def family_of(name: str, vit: nn.Module) -> Family:
    """Return the family that describes a model.

    Raises InputError, with the reason and the model's ``name``, where none does.
    """
    obstacle = f"it is a {type(vit).__name__}, of no family that is served"
    related = [family for family in FAMILIES if type(vit) in family.models]
    for family in related:
        found = family.obstacle(vit)
        if found is None:
            return family
        if family is related[0]:
            obstacle = found
    raise InputError(f"backbone {name!r} cannot be served: {obstacle}")
