"""Data sets, their images as a backbone wants them, and class-incremental task streams."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
