"""Which packages are installed."""

import importlib.metadata

__all__ = ["installed_version"]


def installed_version(package: str) -> str:
    """Return an installed package's version, or "none"."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "none"
