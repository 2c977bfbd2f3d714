import json
from dataclasses import asdict, dataclass, field

import pytest

from cbpnet.host.dataclass_json import from_json


@dataclass(frozen=True)
class Wheel:
    spokes: tuple[int, ...]
    brand: str | None = None


@dataclass(frozen=True)
class Bicycle:
    wheels: tuple[Wheel, ...]
    by_name: dict[str, Wheel]
    spare: Wheel | None
    size: tuple[float, float] = (1.0, 2.0)
    notes: dict[str, object] = field(default_factory=dict)


BICYCLE = Bicycle(
    wheels=(Wheel((1, 2)), Wheel((), "x")),
    by_name={"front": Wheel((3,))},
    spare=None,
    notes={"a": [1, None, {"b": 2}]},
)


def test_a_round_trip_through_json_is_exact():
    assert from_json(Bicycle, json.loads(json.dumps(asdict(BICYCLE)))) == BICYCLE


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"bell": 1}, "setting 'bell' is unknown"),
        ({"wheels": [{"spokes": [1]}]}, "setting 'brand' is missing"),
        ({"by_name": {"front": {"spokes": [], "brand": None, "x": 1}}}, "setting 'x' is unknown"),
    ],
)
def test_a_field_too_many_or_too_few_is_named_at_any_depth(change, reason):
    with pytest.raises(ValueError, match=reason):
        from_json(Bicycle, asdict(BICYCLE) | change)
