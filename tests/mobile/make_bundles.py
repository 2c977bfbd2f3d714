"""Makes the bundles that tests without torch take, in the folder that CBPNET_BUNDLES names.

`pytest tests/mobile/make_bundles.py`; tests/packaging/wheel_test.sh runs it.
"""

from pathlib import Path

import pytest

BUNDLES = ["bundle", "other_bundle", "one_pass_bundle", "int8_bundle", "int8_one_pass"]


@pytest.mark.parametrize("name", BUNDLES)
def test_a_bundle_is_made(name: str, request: pytest.FixtureRequest) -> None:
    path: Path = request.getfixturevalue(name)
    assert path.stat().st_size > 0
