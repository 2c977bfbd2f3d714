"""The presets: for each backbone the one-pass learner and CBPNet, and the budget that both keep."""

from dataclasses import dataclass, replace

from cbpnet.host.errors import InputError
from cbpnet.method.config import (
    AdaptationConfig,
    AdaptationKind,
    BlockConfig,
    LearnerConfig,
    PromptConfig,
    ReadoutConfig,
)

__all__ = [
    "BUDGET",
    "PRESETS",
    "Budget",
    "Preset",
    "check_budget",
    "choose_preset",
    "count_trainables",
    "get_preset",
]

# The paper's "under 0.2 %" (arXiv:2509.15785), of the backbone's parameters without head.
BUDGET = 0.002

# What the one-pass learner counts of an image beside the pooled feature: the mean patch token at
# these shares of the backbone's depth, which costs nothing: every token comes by there anyway.
_COUNTED = (5 / 12, 8 / 12, 10 / 12)
_G_LAYERS, _G_LENGTH = 5, 5  # the one-pass learner's prompt: the first layers, and its length
_EPOCHS = 5  # of CBPNet, at a constant rate


@dataclass(frozen=True)
class Preset:
    """A backbone by its timm name, and the sizes of CBPNet's prompts and block on it.

    ``dim`` is the backbone's width D, ``depth`` its number of layers and ``parameters`` its size
    without head, timm's own figures. ``readout`` is CBPNet's; the one-pass learner takes its
    regularisation where its own is ridge regression. ``budget`` is the largest share of the
    backbone that either learner may train.
    """

    backbone: str
    dim: int
    depth: int
    parameters: int
    g_length: int
    e_length: int
    hidden: int
    readout: ReadoutConfig
    budget: float = BUDGET

    def config(self, adaptation: AdaptationKind = "auto") -> LearnerConfig:
        """Return the settings of "cbpnet" or, with any other adaptation, of the one-pass learner.

        CBPNet's were tuned on validation images (docs/search.md).
        """
        if adaptation == "cbpnet":
            return LearnerConfig(
                PromptConfig(g_length=self.g_length, e_length=self.e_length),
                BlockConfig(self.hidden),
                readout=self.readout,
                adaptation=AdaptationConfig("cbpnet", epochs=_EPOCHS, final_rate=1.0),
            )
        layers = 0 if adaptation == "never" else min(_G_LAYERS, self.depth)
        return LearnerConfig(
            PromptConfig(tuple(range(layers)), _G_LENGTH, e_layers=()),
            readout=ReadoutConfig("whitened", regularisation=self.readout.regularisation),
            adaptation=AdaptationConfig(adaptation),
            features=("pooled", *dict.fromkeys(f"block{int(at * self.depth)}" for at in _COUNTED)),
        )


@dataclass(frozen=True)
class Budget:
    """Trained parameters over the backbone's, the head in neither.

    ``trainable`` counts the G-prompt, one task's E-prompt and key, and the block.
    """

    trainable: int
    backbone: int

    @property
    def share(self) -> float:
        """Return the fraction of the backbone's size, 0.002 being 0.2 %."""
        return self.trainable / self.backbone


READOUT = ReadoutConfig(features=1000)
# Some hundred images, and features that were trained on five digits: ridge knows more than prompts.
MICRO_READOUT = ReadoutConfig(weight=10.0, regularisation=1.0, features=200)

PRESETS = {
    #                  backbone                 D layers parameters  G  E  hidden  readout
    "vit_base": Preset("vit_base_patch16_224", 768, 12, 85_798_656, 5, 5, 80, READOUT),
    "vit_small": Preset("vit_small_patch16_224", 384, 12, 21_665_664, 5, 4, 32, READOUT),
    "vit_tiny": Preset("vit_tiny_patch16_224", 192, 12, 5_524_416, 3, 2, 16, READOUT),
    "deit_tiny": Preset("deit_tiny_patch16_224", 192, 12, 5_524_416, 3, 2, 16, READOUT),
    # For tests and the demo: nothing useful fits into 0.2 % of a fifth of a million parameters.
    "micro": Preset("vit_micro_patch8_32", 64, 6, 214_464, 2, 2, 16, MICRO_READOUT, budget=0.02),
}


def get_preset(name: str) -> Preset:
    """Return a preset by name. Raises `InputError`, naming all, for one that does not exist."""
    if name not in PRESETS:
        raise InputError(f"preset {name!r} does not exist; it must be one of {', '.join(PRESETS)}")
    return PRESETS[name]


def choose_preset(backbone: str, dim: int, depth: int, parameters: int) -> Preset:
    """Return the preset of a backbone, or for another one the largest that keeps its budget on it.

    ``backbone`` is its timm name, with or without a tag, ``dim`` its width D, ``depth`` its number
    of layers and ``parameters`` its size without head. Presets differ in CBPNet's sizes; where none
    fits, the smallest is returned, which `check_budget` refuses.
    """
    for preset in PRESETS.values():
        if preset.backbone == backbone.partition(".")[0]:
            return preset

    def trainable(preset: Preset) -> int:
        return count_trainables(preset.config("cbpnet"), dim, parameters).trainable

    general = sorted((PRESETS[name] for name in PRESETS if name != "micro"), key=trainable)
    fitting = [preset for preset in general if trainable(preset) <= preset.budget * parameters]
    chosen = fitting[-1] if fitting else general[0]
    return replace(chosen, backbone=backbone, dim=dim, depth=depth, parameters=parameters)


def count_trainables(config: LearnerConfig, dim: int, backbone_parameters: int) -> Budget:
    """Return the budget of a configuration on a backbone of width ``dim``."""
    # With torch, which the table does without.
    from cbpnet.method.layout import count_parameters, trainable_layout

    layout = trainable_layout(config, dim, classes=0)
    return Budget(count_parameters(layout, "prompts", "block"), backbone_parameters)


def check_budget(budget: Budget, limit: float) -> None:
    """Raise `InputError` where the trained share of the backbone exceeds ``limit``."""
    if budget.share > limit:
        raise InputError(
            f"prompts and block have {budget.trainable:,} parameters, {100 * budget.share:.3f} % of"
            f" the backbone's {budget.backbone:,}; shorten the prompts or the block to stay under "
            f"{100 * limit:g} %, or raise the budget on purpose"
        )
