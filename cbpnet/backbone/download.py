"""Pretrained weights from the Hugging Face hub, or at once one sentence that says why not."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from huggingface_hub import constants, get_session

from cbpnet.backbone.torchvision_compat import import_timm
from cbpnet.host.errors import InputError

__all__ = ["create_pretrained"]

timm = import_timm()

_PATIENCE = 5.0  # seconds


def create_pretrained(name: str, arguments: dict[str, Any]) -> Any:
    """Return the timm model of a name and arguments with its pretrained weights.

    What was downloaded before is found without a network.

    Raises:
        InputError: there are no such weights, or they cannot be downloaded.
    """
    source = timm.get_pretrained_cfg(name)
    page = source and source.hf_hub_id
    if not source or not source.has_weights:
        raise InputError(
            f"pretrained weights of {name} cannot be downloaded: none are published; "
            "pass a weights file (--weights)"
        )
    try:
        with _offline_where_the_hub_is_out_of_reach():
            return timm.create_model(name, pretrained=True, **arguments)
    except Exception as error:  # each way to fetch a file has exceptions of its own
        where = f", for instance model.safetensors from {constants.ENDPOINT}/{page}" if page else ""
        raise InputError(
            f"pretrained weights of {name} cannot be downloaded here "
            f"({type(error).__name__}); pass a weights file (--weights){where}"
        ) from error


@contextmanager
def _offline_where_the_hub_is_out_of_reach() -> Iterator[None]:
    """Let the hub's client look into its cache alone if one request gets no answer.

    Left to itself the client asks for each of several files six times, with growing pauses, and
    prints each time: two minutes and thirty lines. It has no setting for that.
    """
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or not _answers()
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _answers() -> bool:
    try:
        get_session().head(constants.ENDPOINT, timeout=_PATIENCE)
    except Exception:  # which ones depends on the client's version
        return False
    return True
