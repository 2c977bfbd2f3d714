import numpy as np

from cbpnet.host.packages import installed_version


def test_the_version_of_what_is_installed() -> None:
    assert installed_version("numpy") == np.__version__


def test_a_missing_package_has_none() -> None:
    assert installed_version("no-such-package") == "none"
