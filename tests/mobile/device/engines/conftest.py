"""The installed engines, and the bundles on which they are compared."""

import os
from pathlib import Path

import pytest

from cbpnet.host.errors import InputError
from mobile.device.engines.choice import ENGINE_VARIABLE, ENGINES, choose_engine

COURSES = ("tasks_fp32", "tasks_int8", "one_pass_fp32", "one_pass_int8")


def skip_unless_installed(engine: str) -> None:
    """Skip a test of an engine that is not here, unless CBPNET_ENGINE asks for that one."""
    try:
        choose_engine(engine)
    except InputError as error:
        if os.environ.get(ENGINE_VARIABLE) == engine:
            raise
        pytest.skip(str(error))


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """An installed engine, with which programs are opened."""
    name: str = request.param
    skip_unless_installed(name)
    monkeypatch.setenv(ENGINE_VARIABLE, name)
    return name


@pytest.fixture(scope="session")
def vectors() -> Path:
    """The folder that android_demo/conformance/write_vectors.py wrote."""
    if "CBPNET_VECTORS" not in os.environ:
        pytest.skip("needs CBPNET_VECTORS, the folder of android_demo/conformance/write_vectors.py")
    return Path(os.environ["CBPNET_VECTORS"])


@pytest.fixture(params=COURSES)
def course(request: pytest.FixtureRequest, vectors: Path) -> Path:
    """The folder of a bundle, photographs, and what was learnt from them."""
    folder: Path = vectors / request.param
    return folder
