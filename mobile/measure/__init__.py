"""Speed, memory, accuracy and a board over time; results of boards side by side."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
