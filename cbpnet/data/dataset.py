"""What a data set is to the rest of the project."""

from dataclasses import dataclass

from cbpnet.data.images import ImageSource

__all__ = ["Dataset"]


@dataclass(frozen=True, eq=False)
class Dataset:
    """Training and test images of named classes.

    An image's label is the index of its class in `class_names`. `classes_per_task` is the data
    set's usual number. `notes` are sentences for the user: what was skipped, what differs.
    """

    name: str
    class_names: tuple[str, ...]
    train: ImageSource
    test: ImageSource
    classes_per_task: int
    notes: tuple[str, ...] = ()
