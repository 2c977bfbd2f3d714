"""What a program needs of the machine it runs on: files, memory, processor, errors."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
