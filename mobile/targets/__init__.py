"""What a bundle can be lowered to; one file a target, found through one table."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
