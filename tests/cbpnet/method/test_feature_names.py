"""Features by name: which names there are, and which lists of them are refused."""

import pytest

from cbpnet.host.errors import InputError
from cbpnet.method.feature_names import block_number, check_features, check_prepared


@pytest.mark.parametrize(
    "names",
    [
        ["pooled"],
        ["pooled", "patches", "block3", "block11", "logits"],
        ["pooled", "block0", "random", "logits"],
    ],
)
def test_names_in_any_order_behind_pooled_are_taken(names: list[str]) -> None:
    check_features(names)


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        ([], "features are none; the first must be pooled"),
        (["patches", "pooled"], "features are patches, pooled; the first must be pooled"),
        (["pooled", "patches", "patches"], "feature 'patches' is named twice; once is right"),
        (["pooled", "mean"], "feature 'mean' is unknown; it must be pooled, patches, logits"),
        (["pooled", "block"], "feature 'block' is unknown; .* block0, block1 and so on"),
        (["pooled", "block03"], "feature 'block03' is unknown"),
        (["pooled", "block-1"], "feature 'block-1' is unknown"),
    ],
)
def test_other_lists_are_refused_in_one_sentence(names: list[str], reason: str) -> None:
    with pytest.raises(InputError, match=f"^{reason}"):
        check_features(names)


def test_a_block_is_a_number() -> None:
    assert [block_number(name) for name in ("block0", "block11")] == [0, 11]
    assert [block_number(name) for name in ("pooled", "block03", "blocks.3")] == [None] * 3


def test_what_a_trunk_was_not_made_for_is_refused() -> None:
    check_prepared(["patches"], ["pooled", "patches"])
    with pytest.raises(
        InputError, match=r"'logits' was not asked for .* it computes pooled, patches$"
    ):
        check_prepared(["pooled", "logits"], ["pooled", "patches"])
