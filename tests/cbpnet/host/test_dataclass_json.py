import json
import math
from dataclasses import asdict, dataclass, field
from typing import Literal

import pytest

from cbpnet.host.dataclass_json import from_json
from cbpnet.host.errors import InputError


@dataclass(frozen=True)
class Wheel:
    spokes: tuple[int, ...]
    brand: str | None = None

    def __post_init__(self):
        if len(self.spokes) > 9:
            raise InputError(f"spokes are {len(self.spokes)}; right would be 9 at most")


@dataclass(frozen=True)
class Bicycle:
    wheels: tuple[Wheel, ...]
    by_name: dict[str, Wheel]
    spare: Wheel | None
    kind: Literal["road", "track"] = "road"
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


def test_a_whole_number_is_a_float_and_nan_stays():
    found = from_json(Bicycle, json.loads(json.dumps(asdict(BICYCLE) | {"size": [3, math.nan]})))
    assert [type(side) for side in found.size] == [float, float]
    assert found.size[0] == 3.0
    assert math.isnan(found.size[1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bell": 1}, "object contains unknown field `bell`"),
        ({"wheels": [{"spokes": [1]}]}, "wheels[0]: object missing required field `brand`"),
        ({"wheels": [{"brand": "x"}]}, "wheels[0]: object missing required field `spokes`"),
        (
            {"by_name": {"front": {"spokes": [], "brand": None, "x": 1}}},
            "by_name.front: object contains unknown field `x`",
        ),
        (
            {"wheels": [{"spokes": [1, 2.5], "brand": None}]},
            "wheels[0].spokes[1]: expected `int`, got `float`",
        ),
        ({"spare": {"spokes": [True], "brand": ""}}, "spare.spokes[0]: expected `int`, got `bool`"),
        ({"size": [1.0]}, "size: expected `array` of length 2, got 1"),
        ({"kind": "sail"}, "kind: invalid enum value 'sail'"),
        (
            {"spare": {"spokes": [0] * 10, "brand": None}},
            "spare: spokes are 10; right would be 9 at most",
        ),
    ],
)
def test_what_a_field_does_not_ask_for_is_named_at_any_depth(change, message):
    with pytest.raises(InputError) as raised:
        from_json(Bicycle, json.loads(json.dumps(asdict(BICYCLE) | change)))
    assert str(raised.value) == message


@pytest.mark.parametrize(("value", "kind"), [([], "array"), (3, "int"), (None, "null")])
def test_what_is_no_object_is_refused(value, kind):
    with pytest.raises(InputError, match=f"^expected `object`, got `{kind}`$"):
        from_json(Bicycle, value)
