"""What runs on a board: a bundle, its program, the learner on it, images, lessons."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
