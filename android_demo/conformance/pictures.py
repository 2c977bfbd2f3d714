"""Real photographs of odd sizes, cut from those that matplotlib and scikit-learn carry along."""

from pathlib import Path

import matplotlib
import numpy as np
import sklearn
from PIL import Image

__all__ = ["save_class_photographs", "save_odd_photographs"]

_ORIENTATION = 0x0112  # EXIF
_PORTRAIT = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
_SKLEARN = Path(sklearn.__file__).parent / "datasets" / "images"

# What each class is cut from, and the part of it as left, top, right, bottom.
_PARTS = {
    "portrait": (_PORTRAIT, (100, 20, 420, 560)),
    "temple": (_SKLEARN / "china.jpg", (60, 130, 620, 420)),
    "sky": (_SKLEARN / "china.jpg", (200, 0, 640, 110)),
    "flower": (_SKLEARN / "flower.jpg", (180, 60, 480, 380)),
    "leaf": (_SKLEARN / "flower.jpg", (0, 0, 180, 427)),
}


def save_odd_photographs(folder: Path) -> list[str]:
    """Save photographs that resizing, cropping and turning may get wrong; return their names."""
    folder.mkdir(parents=True, exist_ok=True)
    photograph = _open(_PORTRAIT)
    sizes = [(512, 600), (333, 77), (77, 333), (31, 33), (47, 48), (5, 3), (1, 1), (599, 61)]
    cut = {f"cut_{w}x{h}": photograph.crop((0, 0, w, h)) for w, h in sizes}
    cut["strip"] = photograph.crop((0, 100, 509, 105))
    cut["landscape"] = _open(_SKLEARN / "china.jpg")
    names = []
    for number, (name, image) in enumerate(cut.items()):
        names.append(_save(folder / f"{name}.png", image, orientation=number % 8 + 1))
    faded = _open(_SKLEARN / "flower.jpg").crop((100, 100, 301, 252)).convert("RGBA")
    faded.putalpha(Image.linear_gradient("L").resize(faded.size))
    return [*names, _save(folder / "faded.png", faded, orientation=1)]


def save_class_photographs(folder: Path, counts: dict[str, int]) -> dict[str, list[str]]:
    """Save cuts of odd sizes and any orientation; return the files' names by class."""
    folder.mkdir(parents=True, exist_ok=True)
    saved: dict[str, list[str]] = {}
    for label, count in counts.items():
        path, box = _PARTS[label]
        part = _open(path).crop(box)
        random = np.random.default_rng(list(label.encode()))
        saved[label] = []
        for number in range(count):
            width, height = random.integers(70, part.size, endpoint=True).tolist()
            left = int(random.integers(0, part.width - width, endpoint=True))
            top = int(random.integers(0, part.height - height, endpoint=True))
            cut = part.crop((left, top, left + width, top + height))
            file = folder / f"{label}_{number}.png"
            saved[label].append(_save(file, cut, orientation=int(random.integers(1, 9))))
    return saved


def _open(path: Path) -> Image.Image:
    return Image.open(path).convert("RGB")


def _save(path: Path, image: Image.Image, orientation: int) -> str:
    exif = Image.Exif()
    exif[_ORIENTATION] = orientation
    image.save(path, exif=exif)
    return path.name
