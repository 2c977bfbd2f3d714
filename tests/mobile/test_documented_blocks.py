"""The blocks of the pages that a command prints are what it prints."""

import importlib.util
import json
import re
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from cbpnet.backbone.torchvision_compat import import_timm
from cbpnet.backbone.vit import Backbone
from mobile.cli import export_job, main

ROOT = Path(__file__).resolve().parents[2]

_spec = importlib.util.spec_from_file_location("renew", ROOT / "docs" / "renew.py")
renew = importlib.util.module_from_spec(_spec)
sys.modules["renew"] = renew  # where dataclasses look their module up
_spec.loader.exec_module(renew)

BLOCKS = [
    pytest.param(name, body, id=f"{page.name}-{name}")
    for page in renew.pages()
    for name, body in renew.read_blocks(page.read_text("utf-8")).items()
]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """What is printed of a small backbone's export: the same sentences with other numbers."""
    size = {"depth": 4, "embed_dim": 32, "num_heads": 2, "img_size": 16}
    vit = import_timm().create_model("vit_micro_patch8_32", **size)
    bundle = str(tmp_path_factory.mktemp("pages") / "small.pte")

    def run(*arguments):
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 0, result.output
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export_job, "load_backbone", lambda *_: Backbone("vit_small", vit))
        exported = run("export", "--target", "xnnpack", "--budget", "1", "--out", bundle)
    document = json.loads(run("inspect", bundle, "--json").stdout)
    return renew.Printed(exported.stderr, exported.stdout, run("inspect", bundle).stdout, document)


@pytest.fixture(scope="module")
def real(vit_tiny_weights):
    return renew.export_vit_tiny(vit_tiny_weights)


def form(block):
    """The first word of every line; bundles have one name."""
    named = re.sub(r"\S+\.pte", "x.pte", block)
    return [line.partition(" ")[0] for line in named.splitlines()]


def test_every_mark_is_one_that_the_script_knows_and_has_a_fence():
    for page in renew.pages():
        text = page.read_text("utf-8")
        marked = [line for line in text.splitlines() if line.startswith("<!-- made by:")]
        blocks = renew.read_blocks(text)
        assert len(marked) == len(blocks), page.name
        assert blocks.keys() <= renew.MAKERS.keys(), page.name


@pytest.mark.parametrize(("name", "block"), BLOCKS)
def test_a_block_has_the_form_of_what_is_printed(small, name, block):
    fresh = renew.MAKERS[name](small)
    if name == "features":
        documented, found = json.loads(block), json.loads(fresh)
        assert documented.keys() == found.keys()
        assert documented["undelegated"].keys() == found["undelegated"].keys()
    else:
        assert form(block) == form(fresh)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "block"), BLOCKS)
def test_a_block_is_what_a_fresh_export_prints(real, name, block):
    assert renew.settled(block) == renew.settled(renew.MAKERS[name](real))


def test_a_block_is_renewed_and_nothing_else(small):
    page = "a\n\n<!-- made by: docs/renew.py features -->\n```\nold\n```\nb\n```\nkept\n```\n"
    fresh = renew.renewed(page, small)
    assert fresh == page.replace("old\n", renew.MAKERS["features"](small))
    assert renew.renewed(fresh, small) == fresh


def test_a_transcript_has_every_line_but_most_stages_and_operators(small):
    command, *lines = renew.MAKERS["export"](small).splitlines()
    assert command.startswith("$ cbpnet-mobile export --target xnnpack")
    stages, outcome = small.stages.splitlines(), small.outcome.splitlines()
    assert lines[:5] == [stages[0], "[...]", *stages[-3:]]
    operators = outcome[[line.split()[0] for line in outcome].index("gradients") + 1]
    assert [line for line in lines[5:] if not line.startswith(" ")] == [
        line for line in outcome if not line.startswith(" ")
    ]
    (shown,) = (line for line in lines if line.startswith(" "))
    assert shown.removesuffix(" [...]") == operators.rstrip()


def test_times_rounding_and_builds_are_no_difference():
    one, other, third = (
        f"loading ... {seconds} s\nagainst PyTorch: cosine {cosine}\ntorch 2.1{build}, {size} MB"
        for seconds, cosine, build, size in (
            (1.5, "0.9", "", 7),
            (12, "0.99", "+cpu", 7),
            (12, "0.99", "+cpu", 8),
        )
    )
    assert renew.settled(one) == renew.settled(other) != renew.settled(third)
