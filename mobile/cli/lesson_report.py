"""What the commands say of a lesson, in words and as JSON."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from cbpnet.host.text import counted, listed, printable

if TYPE_CHECKING:
    from cbpnet.run.advice import Advice
    from cbpnet.run.lesson import Decision, Reason
    from mobile.device.lessons import Forecast, Lesson

__all__ = [
    "advice_sentence",
    "decision_json",
    "decision_words",
    "forecast_sentence",
    "lesson_json",
    "lesson_sentence",
    "reason_words",
    "recall_sentences",
]

_SHOWN = 5  # classes of a lesson

_WHY: "dict[Reason, str]" = {
    "first": "first lesson of enough classes",
    "always": "every lesson adapts them",
    "foreign": "images unlike the backbone's",
    "familiar": "images like the backbone's",
    "few classes": "too few classes to adapt to",
    "outnumbered": "few classes beside those known",
    "adapted before": "adapted before",
    "one class": "one class has nothing to be told apart from",
    "never": "this learner never adapts them",
}


def lesson_sentence(lesson: "Lesson") -> str:
    """Return what was learnt, and what a one-pass bundle decided."""
    name = "lesson" if lesson.task is None else f"task {lesson.task}"
    parts = [
        f"{kind} {listed(names)}"
        for kind, names in (("new:", lesson.new), ("known:", lesson.known))
        if names
    ]
    learnt = f"{name} ({'; '.join(parts)}): {counted(lesson.images, 'image')}"
    return learnt if lesson.decision is None else f"{learnt}; {decision_words(lesson.decision)}"


def decision_words(decision: "Decision") -> str:
    """Return how a lesson's images were told apart, and whether the features were adapted."""
    accuracy = decision.accuracy
    found = "" if accuracy is None else f"{100 * accuracy:.0f} % right left out; "
    done = "the features were adapted" if decision.adapts else "the features stay"
    return f"{found}{done} ({reason_words(decision.reason)})"


def reason_words(reason: "Reason") -> str:
    """Return why a lesson did or did not adapt the features, in words."""
    return _WHY[reason]


def recall_sentences(lesson: "Lesson") -> list[str]:
    """Return what is right of a lesson's classes, each image left out, the worst first."""
    judged = [one for one in lesson.recall if one.right is not None]
    judged.sort(key=lambda one: (one.right or 0) / one.images)
    return [
        f"{printable(one.label)}: {one.right} of {one.images} right, left out"
        + (f"; most like {printable(one.confused)}" if one.confused else "")
        for one in judged[:_SHOWN]
    ]


def advice_sentence(advice: "Advice") -> str:
    """Return what is to be looked at in a lesson, and what to do."""
    images = counted(advice.images, "picture")
    label, other = printable(advice.label), printable(advice.other)
    match advice.kind:
        case "two labels":
            return f"{images} of {label} stand under {other} too: take them out of one"
        case "taught before":
            return f"{images} of {label} were taught before, as {other}: they count again"
        case "rare":
            return f"{label} has {images}, {other} has {advice.of}: more of {label} would help"
        case "alike":
            return f"{advice.images} of {advice.of} pictures of {label} are nearly alike: vary them"
        case "like known":
            share = round(100 * advice.images / advice.of)
            return f"{share} % of {label} look like {other}, which is known: teach more there?"


def forecast_sentence(forecast: "Forecast") -> str:
    """Return what an adaptation is going to cost."""
    return (
        f"adapting ({reason_words(forecast.decision.reason)}): "
        f"about {forecast.passes:.0f} passes an image, {forecast.seconds:.0f} s"
    )


def lesson_json(lesson: "Lesson") -> dict[str, Any]:
    """Return a lesson's fields, and of its decision whether it adapts."""
    return asdict(lesson) | {"decision": decision_json(lesson.decision)}


def decision_json(decision: "Decision | None") -> dict[str, Any] | None:
    """Return a decision's fields, and whether it adapts."""
    return None if decision is None else asdict(decision) | {"adapts": decision.adapts}
