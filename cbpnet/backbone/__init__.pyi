from .architecture import Architecture as Architecture, Family as Family
from .fingerprint import fingerprint_weights as fingerprint_weights
from .micro_vit import pretrain_micro_vit as pretrain_micro_vit
from .presets import (
    PRESETS as PRESETS,
    Preset as Preset,
    check_budget as check_budget,
    choose_preset as choose_preset,
    count_trainables as count_trainables,
    get_preset as get_preset,
)
from .served import FAMILIES as FAMILIES, family_of as family_of
from .vit import Backbone as Backbone, load_backbone as load_backbone
from .weights import read_weights as read_weights
