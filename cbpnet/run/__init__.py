"""Learning task after task: training, sessions that resume, evaluation, metrics, state files."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
