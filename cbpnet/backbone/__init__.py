"""Frozen vision transformers: loading them, and what is trained on each."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
