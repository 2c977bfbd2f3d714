"""Who made a file: Ed25519 signatures in Minisign's format, and the keys that are trusted here."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
