"""Any CPU: ExecuTorch's own kernels and no delegate, in fp32; the reference for the others."""

from mobile.targets import backend

__all__ = ["Backend"]


class Backend(backend.Backend):
    """ExecuTorch's own kernels, which have no options."""

    delegates = False
