"""The statistics that a one-pass learner keeps of all images, in fp32 and streamed.

For each class its count n_c and mean mu_c, and for all classes together the scatter within them,
``S = sum (x - mu_c) (x - mu_c)'``. A batch is added by the exact update of Chan, Golub and LeVeque
(The American Statistician, 1983): whatever the order and the portions in which images come, the
result is that of all images at once, up to rounding. Statistics of two devices can be added.
"""

from dataclasses import dataclass

from torch import Tensor

__all__ = ["ClassStatistics", "centre", "class_centre"]


@dataclass(frozen=True)
class ClassStatistics:
    """Counts [C], means [C, F] and the pooled scatter [F, F]."""

    count: Tensor
    mean: Tensor
    scatter: Tensor

    def with_images(self, x: Tensor, targets: Tensor) -> "ClassStatistics":
        """Return the statistics after images with features [B, F] and one-hot targets [B, C].

        A row of zeros in ``targets`` marks padding, which changes nothing.
        """
        new = targets.sum(dim=0)
        count = self.count + new
        share = new / count.clamp(min=1)
        centres = targets.T @ x / new.clamp(min=1).unsqueeze(1)
        shift = (centres - self.mean) * (new > 0).unsqueeze(1)
        within = x * targets.sum(dim=1, keepdim=True) - targets @ centres
        # Between old and new mean stands n b / (n + b) of a class; each of its b images has one
        # b-th of that, so that the product is one over images and not over classes.
        between = targets @ (shift * (self.count / count.clamp(min=1)).sqrt().unsqueeze(1))
        scatter = self.scatter + within.T @ within + between.T @ between
        return ClassStatistics(count, self.mean + share.unsqueeze(1) * shift, scatter)


def centre(count: Tensor, mean: Tensor) -> Tensor:
    """Return the mean over all images [F]."""
    return count @ mean / count.sum().clamp(min=1)


def class_centre(count: Tensor, mean: Tensor) -> Tensor:
    """Return the mean of the means of known classes [F]: each counts once, whatever its images."""
    known = (count > 0).to(mean.dtype)
    return known @ mean / known.sum().clamp(min=1)
