"""Importing timm where torchvision's compiled operators do not match the installed torch."""

import importlib
from types import ModuleType

import torch

__all__ = ["import_timm"]

# The operators for which `import torchvision` registers shape functions whether they exist or not.
_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_libraries: list[torch.library.Library] = []  # a library's schemas live as long as the object


def import_timm() -> ModuleType:
    """Import timm, declaring torchvision's operators first if its import fails for lack of them.

    timm imports torchvision, and `import torchvision` fails with "operator torchvision::nms does
    not exist" where its compiled library was built for another torch. This project calls none of
    those operators, so that declaring them is enough. Where torchvision works nothing is touched.
    """
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if "operator torchvision::nms does not exist" not in str(error):
            raise
        library = torch.library.Library("torchvision", "DEF")
        for schema in _SCHEMAS:
            library.define(schema)
        _libraries.append(library)
        importlib.import_module("torchvision")
    return importlib.import_module("timm")
