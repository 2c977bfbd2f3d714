"""The recipes of docs/extending.md, performed as they stand in a copy of the project.

A recipe is a section of the page. Its blocks are new files or changes; performing it touches what
it names and nothing else. That this is enough is then tried in a new process, on the copy.
"""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs/extending.md").read_text(encoding="utf-8")
RECIPES = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
STEP = re.compile(r"^`([\w./]+)`[^\n]*:$|^```(python|diff)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = "from mobile.cli import main; main()"
MICRO_WEIGHTS = """
import sys, torch
from safetensors.torch import save_file
from cbpnet.backbone import load_backbone
torch.manual_seed(0)
save_file(load_backbone("vit_micro_patch8_32", pretrained=False).vit.state_dict(), sys.argv[1])
"""
FEW = ["--preset", "micro", "--train-per-class", "4", "--test-per-class", "2", "--epochs", "1"]


@dataclass(frozen=True)
class Copy:
    """A copy of the project, in which Python and the commands run in processes of their own."""

    root: Path

    def python(self, code: str, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            cwd=self.root,
            env={"PATH": "", "HOME": str(self.root), "PYTHONPATH": str(self.root)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def command(self, *arguments: str) -> str:
        return self.python(COMMAND, *arguments)


def _apply(text: str, diff: str) -> str:
    """Change a text as a diff's lines say, at the one place where the others stand."""
    lines = diff.splitlines(keepends=True)
    old = "".join(line[1:] for line in lines if not line.startswith("+"))
    new = "".join(line[1:] for line in lines if not line.startswith("-"))
    assert text.count(old) == 1, f"this must stand once in the file:\n{old}"
    return text.replace(old, new)


def _perform(recipe: str, root: Path) -> list[str]:
    """Perform a recipe in a folder and return the files that it changed, in order."""
    touched: list[str] = []  # the last one is what the next block belongs to
    for name, kind, block in STEP.findall(RECIPES[recipe]):
        if name:
            touched.append(name)
            continue
        path = root / touched[-1]
        assert path.exists() == (kind == "diff"), path
        path.write_text(block if kind == "python" else _apply(path.read_text(), block))
    return touched


@pytest.fixture
def perform(tmp_path: Path) -> Callable[[str, int], Copy]:
    """Perform a recipe in a new copy, and hold how many files it takes."""

    def performed(recipe: str, files: int) -> Copy:
        for package in ("cbpnet", "quantize", "mobile"):
            shutil.copytree(
                ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__")
            )
        touched = _perform(recipe, tmp_path)
        assert len(touched) == files
        for tool in (["check"], ["format", "--check"]):
            ruff = [sys.executable, "-m", "ruff", *tool, "--config", str(ROOT / "pyproject.toml")]
            subprocess.run([*ruff, *touched], cwd=tmp_path, check=True)
        return Copy(tmp_path)

    return performed


@pytest.fixture
def micro_weights(tmp_path: Path) -> Callable[[Copy], list[str]]:
    """The option that gives a command a micro ViT with random weights."""

    def made(copy: Copy) -> list[str]:
        copy.python(MICRO_WEIGHTS, "micro.safetensors")
        return ["--weights", "micro.safetensors"]

    return made


def test_a_change_goes_where_its_other_lines_stand() -> None:
    assert _apply("a\nb\nc\n", " a\n-b\n+d\n") == "a\nd\nc\n"
    with pytest.raises(AssertionError, match="once"):
        _apply("a\nb\na\n", " a\n+d\n")


def test_a_target_is_a_file_and_a_row(perform: Callable[[str, int], Copy]) -> None:
    copy = perform("Add a target", 2)
    listed = copy.command("targets")
    assert "my-npu: my NPU; learns on the CPU through XNNPACK" in listed
    assert "--option clock: how fast it runs; slow or fast" in listed
    copy.python(
        """
from pathlib import Path
from cbpnet.backbone import Backbone
from cbpnet.backbone.torchvision_compat import import_timm
from cbpnet.host import RandomStream
from cbpnet.method import LearnerConfig, PromptConfig, ReadoutConfig, draw_state
from mobile import ExportSettings, export_bundle, resolve_target
vit = import_timm().create_model("vit_micro_patch8_32", depth=2)
config = LearnerConfig(PromptConfig((0,), 2, (1,), 2), readout=ReadoutConfig("none"))
state = draw_state(config, 64, 4, 2, RandomStream(0, 0))
settings = ExportSettings(resolve_target("my-npu", "fp32", {"clock": "fast"}), 4, 2)
path = Path("npu.pte")
export_bundle(path, Backbone("vit_micro_patch8_32", vit), config, state, settings)
"""
    )
    assert '"target": "my-npu"' in copy.command("inspect", "npu.pte", "--json")


def test_a_data_set_is_a_file_and_a_row(
    perform: Callable[[str, int], Copy], micro_weights: Callable[[Copy], list[str]]
) -> None:
    copy = perform("Add a data set", 2)
    few = [*FEW, *micro_weights(copy)]
    learnt = copy.command("train", "--dataset", "stripes", *few, "--out", "stripes.safetensors")
    assert "task 2 of 2 (90, 135)" in learnt


def test_a_preset_is_a_row(perform: Callable[[str, int], Copy]) -> None:
    row = json.loads(perform("Add a backbone", 1).command("presets", "--json"))["dinov2"]
    assert (row["backbone"], row["dim"]) == ("vit_small_patch14_dinov2", 384)
    assert all(one["share"] < row["budget"] == 0.002 for one in row["learners"].values())


def test_a_backbone_family_is_a_file_and_a_row(perform: Callable[[str, int], Copy]) -> None:
    """In PyTorch and in frozen layers it computes what the model's own forward pass computes."""
    perform("Add a backbone family", 2).python(
        """
import torch
from cbpnet.backbone import Backbone
from cbpnet.backbone.families.scaled_positions import ScaledPositions
from quantize import FrozenTrunk

torch.manual_seed(0)
vit = ScaledPositions(img_size=16, patch_size=8, embed_dim=12, depth=2, num_heads=3)
vit.pretrained_cfg = {
    "mean": (0.5,) * 3, "std": (0.5,) * 3, "interpolation": "bicubic", "crop_pct": 1.0
}
vit.eval().reset_classifier(0)
images, prefix = torch.randn(2, 3, 16, 16), {1: torch.randn(1, 2, 4, 12)}
with torch.no_grad():
    wanted = vit.forward_head(vit.forward_features(images), pre_logits=True)
    vit.size += 1
    assert not torch.allclose(vit.forward_features(images).mean(1), wanted, atol=1e-3)
    vit.size -= 1
    backbone = Backbone("scaled", vit)
    trunk = FrozenTrunk(backbone, "fp32")
    torch.testing.assert_close(backbone(images), wanted, atol=1e-5, rtol=0)
    torch.testing.assert_close(trunk(images), wanted, atol=1e-5, rtol=0)
    torch.testing.assert_close(trunk(images, prefix), backbone(images, prefix), atol=1e-5, rtol=0)
"""
    )


def test_a_replacement_rule_is_one_place_and_programs_follow(
    perform: Callable[[str, int], Copy],
) -> None:
    """The unit that goes has the shortest contribution, by hand; the traced update takes it too."""
    perform("Change the replacement rule", 1).python(
        """
import torch
from cbpnet.host import RandomStream
from cbpnet.method import BlockConfig, CBPConfig, Learner, LearnerConfig
from mobile.export.bundle_learner import bundle_functions
from mobile.export.tracing import trace

class Extractor:
    dim = 8
    def __call__(self, images, prefixes=None):
        return images.flatten(1)[:, :8]

cbp = CBPConfig(replacement_rate=0.25, maturity=0, decay=0.0)
config = LearnerConfig(block=BlockConfig(4), cbp=cbp)
learner = Learner(Extractor(), config, 2, 1)
state = learner.initial_state(RandomStream(0, 0))
outgoing = torch.zeros(1, 4, 8)
outgoing[0, 0, :4] = 1.0  # the least sum of magnitudes but one, the shortest but one
outgoing[0, 1, 0] = 3.0  # the least sum of magnitudes
outgoing[0, 2] = 0.6  # a larger sum, the shortest
outgoing[0, 3] = 9.0
state = state.replace({"block.w_out": outgoing, "tasks.current": torch.zeros(1)})
sums = learner.zero_sums() | {"activity": torch.ones(1, 4), "count": torch.ones(1)}
after = learner.update(state, sums, torch.rand(learner.noise_shape), torch.ones(1))
assert outgoing[0].abs().sum(1).argmin() == 1 and outgoing[0].norm(dim=1).argmin() == 2
assert after["cbp.age"].tolist() == [[1.0, 1.0, 0.0, 1.0]], after["cbp.age"]

(function,) = (f for f in bundle_functions(learner, state, 1, 4) if f.name == "update")
traced = trace(function)
given = {f"state.{name}": value for name, value in state.items()}
given |= {f"sums.{name}": value for name, value in sums.items()}
given |= {"noise": torch.rand(learner.noise_shape), "rate": torch.ones(1)}
found = traced.program.module()(*(given[name] for name in traced.inputs))
assert torch.equal(dict(zip(traced.outputs, found))["state.cbp.age"], after["cbp.age"])
"""
    )


def test_a_readout_is_a_name_and_its_scores(
    perform: Callable[[str, int], Copy], micro_weights: Callable[[Copy], list[str]]
) -> None:
    copy = perform("Add a readout", 3)
    copy.python(
        """
import torch
from cbpnet.method.readout import readout_scores
mean, query = torch.randn(5, 8), torch.randn(3, 8)
scores = readout_scores("distance", {"classes.mean": mean}, query)
torch.testing.assert_close(scores, -torch.cdist(query, mean) ** 2 / 8)
"""
    )
    few = [*FEW, *micro_weights(copy)]
    table = copy.command(
        "benchmark", "--dataset", "digits", *few, "--method", "cbpnet+distance", "--out", "runs"
    )
    assert "cbpnet+distance" in table
