"""Features by name: which names there are, their sizes, and which lists of them are refused."""

import pytest

from cbpnet.host.errors import InputError
from cbpnet.method.feature_names import check_features, feature_number, feature_size


@pytest.mark.parametrize(
    "names",
    [
        ["pooled"],
        ["pooled", "patches", "block3", "block11", "logits1000"],
        ["pooled", "block0", "random20", "logits3"],
    ],
)
def test_names_in_any_order_behind_pooled_are_taken(names: list[str]) -> None:
    check_features(names)


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["patches", "pooled"], "features are patches, pooled; the first must be pooled"),
        (["pooled", "patches", "patches"], "features are pooled, .*; each must be named once"),
        (["pooled", "mean"], "feature 'mean' does not exist; it must be pooled, patches, block9"),
        (["pooled", "block"], "feature 'block' does not exist"),
        (["pooled", "block03"], "feature 'block03' does not exist"),
        (["pooled", "block-1"], "feature 'block-1' does not exist"),
    ],
)
def test_other_lists_are_refused_in_one_sentence(names: list[str], reason: str) -> None:
    with pytest.raises(InputError, match=f"^{reason}"):
        check_features(names)


def test_a_numbered_feature_has_its_number_and_a_size() -> None:
    assert [feature_number("block", name) for name in ("block0", "block11")] == [0, 11]
    assert [feature_number("block", name) for name in ("pooled", "random3")] == [None, None]
    sizes = {"pooled": 8, "patches": 8, "block11": 8, "logits50": 50, "random3": 3}
    assert {name: feature_size(name, 8) for name in sizes} == sizes
