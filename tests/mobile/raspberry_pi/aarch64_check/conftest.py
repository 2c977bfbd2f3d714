"""What a check starts from, with a small bundle, and a session that nobody disturbed."""

import shutil
from pathlib import Path

import pytest
from PIL import Image

from mobile.raspberry_pi.aarch64_check.comparison import LIMITS
from mobile.raspberry_pi.aarch64_check.session import run_session

COLOURS = {"ant": "red", "bee": "green", "dog": "blue", "elk": "grey", "fox": "white"}
LESSONS = (("dog",), ("elk", "fox", "ant"))


@pytest.fixture(scope="session")
def material(fp32_export, pictures, tmp_path_factory) -> Path:
    """Bundles, the same one for each precision, which know ant, bee and cat, and pictures."""
    folder = tmp_path_factory.mktemp("material")
    for precision in LIMITS:
        shutil.copy(fp32_export.path, folder / f"{precision}.pte")
    shown = {f"lessons/{number}": labels for number, labels in enumerate(LESSONS)}
    for seed, (part, labels) in enumerate({**shown, "test": tuple(COLOURS)}.items()):
        for label in labels:
            target = folder / "pictures" / part / label
            target.mkdir(parents=True)
            for number, picture in enumerate(pictures(COLOURS[label], 4, seed)):
                Image.fromarray(picture).save(target / f"{number}.png")
    return folder


@pytest.fixture(scope="session")
def reference(material, tmp_path_factory) -> Path:
    """What undisturbed sessions wrote in this process."""
    out = tmp_path_factory.mktemp("reference")
    for precision in LIMITS:
        run_session(material / f"{precision}.pte", material / "pictures", out / precision)
    return out
