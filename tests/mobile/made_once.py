"""Files that take long to make, made once for all test processes."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

MadeOnce = Callable[[str, Callable[[Path], object]], Path]


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> MadeOnce:
    """Let one of the test processes make a file of a name; the others wait for it and take it.

    CBPNET_BUNDLES names a folder where files are kept, for tests where they cannot be made.
    """
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent  # each process has a folder in it
    root = Path(os.environ.get("CBPNET_BUNDLES", root))

    def make_or_take(name: str, make: Callable[[Path], object]) -> Path:
        path = root / name
        with FileLock(root / f"{name}.lock"):
            if not path.exists():
                make(path)
        return path

    return make_or_take
