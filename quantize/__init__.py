"""The frozen trunk in int8, forward and backward; static recipes; how far it is from fp32."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
