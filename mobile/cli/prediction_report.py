"""What the commands say of a prediction, in words and as JSON."""

from typing import TYPE_CHECKING, Any

from cbpnet.host.text import printable

if TYPE_CHECKING:
    from mobile.device.prediction import Prediction

__all__ = ["best_classes", "prediction_json"]


def best_classes(found: "Prediction", top: int) -> str:
    """Return the best classes of a prediction with their probabilities, in words."""
    best = ", ".join(
        f"{printable(label)} {100 * share:.1f} %" for label, share in found.ranking[:top]
    )
    return f"unknown (of those known: {best})" if found.is_unknown else best


def prediction_json(found: "Prediction", top: int) -> dict[str, Any]:
    """Return the best classes of a prediction, and the task whose prompt was used."""
    best = [
        {"label": label, "probability": probability} for label, probability in found.ranking[:top]
    ]
    return {
        "task": found.task,
        "unknown": found.is_unknown,
        "unknown_score": found.unknown_score,
        "classes": best,
    }
