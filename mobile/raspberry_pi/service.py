"""What a service tells systemd of itself: that it is ready, that it lives, and what it does."""

import os
import socket
from contextlib import suppress

from cbpnet.host.text import printable

__all__ = ["notify"]


def notify(*assignments: str) -> None:
    """Send what sd_notify(3) names, READY=1, WATCHDOG=1 and STATUS=... among them.

    Nothing happens where no service manager listens; one that is gone is no failure of the service.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):  # Linux's abstract names begin with a zero byte
        address = f"\0{address[1:]}"
    message = "\n".join(map(printable, assignments)).encode(errors="backslashreplace")
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(1)
        manager.sendto(message, address)
