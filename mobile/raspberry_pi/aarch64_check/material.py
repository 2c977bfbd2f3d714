"""What boards are given, made on this machine: the conformance suite's vectors, and a ViT-Ti."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from mobile.raspberry_pi.aarch64_check.emulated_board import CHECKOUT

__all__ = ["MaterialError", "export_vit_tiny", "get_vectors", "make_lesson"]

_WRITER = CHECKOUT / "android_demo" / "conformance" / "write_vectors.py"
_WEIGHTS = Path("weights", "vit_tiny_patch16_224.safetensors")  # of the shared data


class MaterialError(Exception):
    """This machine does not make what the boards need; the message has what was printed."""


def get_vectors(folder: Path) -> Path:
    """Return the folder of vectors that CBPNET_VECTORS names; without it, write them to a folder.

    Raises:
        MaterialError: they could not be written.
    """
    if "CBPNET_VECTORS" in os.environ:
        return Path(os.environ["CBPNET_VECTORS"]).resolve()
    _run([_WRITER, folder])
    return folder


def make_lesson(course: Path, folder: Path) -> None:
    """Write two class folders of one photograph each, from a course."""
    for label in ("flower", "temple"):
        (folder / label).mkdir(parents=True)
        shutil.copy(course / f"{label}_0.png", folder / label)


def export_vit_tiny(path: Path) -> bool:
    """Export a ViT-Ti as `cbpnet-mobile export` does, where the shared data has its weights.

    Returns:
        Whether it has.

    Raises:
        MaterialError: the export fails.
    """
    weights = Path(os.environ.get("CBPNET_SHARED", CHECKOUT.parent / "shared")) / _WEIGHTS
    if not weights.exists():
        return False
    options = ["--target=xnnpack", f"--weights={weights}", f"--out={path}"]
    _run(["-m", "mobile", "export", *options])
    return True


def _run(arguments: list[str | Path]) -> None:
    # Warnings are of GPU kernels, whenever torchao is imported.
    command = [sys.executable, "-W", "ignore", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    if result.returncode:
        raise MaterialError(result.stderr[-2000:])
