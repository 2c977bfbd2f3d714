"""The mathematics of CBPNet: prompts, block, continual backpropagation, readout; pure functions."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
