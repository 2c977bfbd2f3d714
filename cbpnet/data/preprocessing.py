"""What a backbone expects of its images."""

from dataclasses import dataclass

__all__ = ["Preprocessing"]


@dataclass(frozen=True)
class Preprocessing:
    """A backbone's image size, normalisation and crop, from its own `pretrained_cfg`.

    `mean` and `std` are per RGB channel, for pixels in [0, 1]; `interpolation` is a name as timm
    writes it ("bicubic", "bilinear"); for testing the image's shorter side is resized to
    `image_size / crop_pct` and its centre of `image_size` pixels kept.
    """

    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str
    crop_pct: float
