"""What all tests share: the project's files, real data beside the checkout, a repeatable torch."""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy.typing as npt
import pytest
from safetensors import safe_open
from safetensors.numpy import save

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session", autouse=True)
def _cache_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Remember verified bundles for all test processes, and not in the user's own cache.

    matplotlib, which would list all fonts again, keeps its own.
    """
    os.environ.setdefault("MPLCONFIGDIR", str(Path.home() / ".cache" / "matplotlib"))
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent
    os.environ["XDG_CACHE_HOME"] = str(root / "cache")


if find_spec("torch"):  # a device has none, and its rooms are tested without it too
    import torch

    @pytest.fixture(scope="session", autouse=True)
    def _one_thread() -> None:
        """Compute with one thread: the tests' tensors are small, and sums are then repeatable."""
        torch.set_num_threads(1)

    @pytest.fixture(autouse=True)
    def _seeded_torch() -> None:
        """Seed torch anew for each test, so that no test depends on which ran before it."""
        torch.manual_seed(0)


@pytest.fixture(scope="session")
def forge() -> Callable[..., None]:
    """Rewrite a state file with other tensors, info or metadata, and the checksum that they need.

    The checksum is computed as its documentation says.
    """

    def rewrite(
        path: Path,
        tensors: Mapping[str, npt.NDArray[Any]] | None = None,
        info: str | None = None,
        **metadata: str,
    ) -> None:
        with safe_open(path, "numpy") as file:
            found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            old = file.metadata()
        tensors = found if tensors is None else tensors
        content = (old["info"] if info is None else info).encode()
        text = content.decode()
        for name, value in sorted(tensors.items()):
            content += name.encode() + value.tobytes()
        digest = hashlib.sha256(content).hexdigest()
        path.write_bytes(save(dict(tensors), old | {"info": text, "sha256": digest} | metadata))

    return rewrite


@pytest.fixture(scope="session")
def tracked_files() -> list[Path]:
    """The files that git tracks: the project's own."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("needs a git checkout, to tell the project's files from others")
    listing = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return [path for name in listing.stdout.split("\0") if name and (path := ROOT / name).is_file()]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real weights and data: CBPNET_SHARED, or `shared` beside the checkout."""
    return _existing(Path(os.environ.get("CBPNET_SHARED", ROOT.parent / "shared")))


@pytest.fixture(scope="session")
def vit_tiny_weights(shared: Path) -> Path:
    """Pretrained weights of timm's vit_tiny_patch16_224, as safetensors."""
    return _existing(shared / "weights" / "vit_tiny_patch16_224.safetensors")


@pytest.fixture(scope="session")
def cifar100_archive(shared: Path) -> Path:
    """The official CIFAR-100 python files, as one archive."""
    return _existing(shared / "data" / "cifar-100-python.tar.xz")


def _existing(path: Path) -> Path:
    if not path.exists():
        pytest.skip(f"needs real data: {path} does not exist (CBPNET_SHARED names its folder)")
    return path
