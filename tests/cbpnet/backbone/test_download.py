"""Downloading weights: with the hub out of reach, and with a file from an earlier download."""

from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import save_file

from cbpnet.backbone import download
from cbpnet.backbone.torchvision_compat import import_timm
from cbpnet.backbone.vit import load_backbone
from cbpnet.host.errors import InputError

timm = import_timm()

NAME = "vit_tiny_patch16_224"
PUBLISHED = "timm/vit_tiny_patch16_224.augreg_in21k_ft_in1k"


class _Session:
    """A client that asks and may get no answer; it counts."""

    def __init__(self, answers: bool) -> None:
        self.answers, self.asked = answers, 0

    def head(self, url: str, timeout: float) -> None:
        assert url == constants.ENDPOINT
        assert 0 < timeout <= 10
        self.asked += 1
        if not self.answers:
            raise ConnectionError("Name or service not known")


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> _Session:
    """A network without the hub, and an empty cache; waiting is an error."""

    def no_waiting(seconds: float) -> None:
        raise AssertionError(f"it waits {seconds} s")

    found = _Session(answers=False)
    monkeypatch.setattr(download, "get_session", lambda: found)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("time.sleep", no_waiting)
    return found


def test_out_of_reach_it_says_in_one_sentence_what_to_do(
    session: _Session, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InputError) as caught:
        load_backbone(NAME)
    message = str(caught.value)
    assert f"pretrained weights of {NAME} cannot be downloaded here" in message
    assert "pass a weights file (--weights)" in message
    assert message.endswith(f"model.safetensors from {constants.ENDPOINT}/{PUBLISHED}")
    assert "\n" not in message
    assert session.asked == 1
    assert "".join(capfd.readouterr()) == ""
    assert constants.HF_HUB_OFFLINE is False


def test_out_of_reach_an_earlier_download_serves(session: _Session, tmp_path: Path) -> None:
    torch.manual_seed(3)
    weights = timm.create_model(NAME).state_dict()
    folder = tmp_path / f"models--{PUBLISHED.replace('/', '--')}"
    snapshot = folder / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("0" * 40)
    save_file(weights, snapshot / "model.safetensors")
    backbone = load_backbone(NAME)
    assert backbone.vit.blocks[3].mlp.fc1.weight.equal(weights["blocks.3.mlp.fc1.weight"])
    assert backbone.classifier is not None
    assert backbone.classifier.weight.equal(weights["head.weight"])
    assert session.asked == 1


def test_in_reach_the_client_is_left_as_it_is(
    session: _Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    session.answers = True
    model, offline = timm.create_model(NAME, depth=1), []

    def create(name: str, pretrained: bool, **arguments: Any) -> Any:
        offline.append(constants.HF_HUB_OFFLINE)
        return model

    monkeypatch.setattr(timm, "create_model", create)
    assert download.create_pretrained(NAME, {}) is model
    assert offline == [False]


def test_what_was_never_published_is_not_looked_for(session: _Session) -> None:
    with pytest.raises(
        InputError, match=r"vit_micro_patch8_32 cannot .*: none are published; pass"
    ):
        load_backbone("vit_micro_patch8_32")
    assert session.asked == 0
