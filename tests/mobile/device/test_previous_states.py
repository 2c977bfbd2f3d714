"""What a damaged state costs on a device: the lessons since it was last saved, and it is said."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from cbpnet.host.errors import InputError
from cbpnet.run.previous_state import damaged_path, previous_path
from cbpnet.run.state_file import load_state
from mobile.cli import main
from mobile.device.inbox import Inbox
from mobile.device.runtime import OnDeviceLearner


@pytest.fixture
def path(one_pass_bundle, pictures, tmp_path):
    """A state that was saved twice, with a picture of each class."""
    learner, path = OnDeviceLearner(one_pass_bundle), tmp_path / "state"
    for label in ("red", "green"):
        learner.learn({label: pictures(label, 3)}, epochs=1, keep=1)
        learner.save(path)
    return path


def damage(path: Path, place: int = -1) -> bytes:
    content = bytearray(path.read_bytes())
    content[place] ^= 4
    path.write_bytes(content)
    return bytes(content)


def kept(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("*.kept.zip")}


def test_a_flipped_bit_anywhere_is_answered_as_by_the_state_before(one_pass_bundle, pictures, path):
    learner = OnDeviceLearner(one_pass_bundle, previous_path(path), pictures=False)
    known, wanted = learner.class_names, learner.predict(pictures("red", 2))
    content, said = path.read_bytes(), []
    learner = OnDeviceLearner(one_pass_bundle, say=said.append)
    places = range(0, len(content), 97)
    for place in places:
        damage(path, place)
        learner.resume(path)
        assert learner.class_names == known
        assert learner.predict(pictures("red", 2)) == wanted
        assert learner.kept.count == 1  # its own picture is still there
        path.write_bytes(content)
    assert len(said) == len(places) > 20
    assert all(f"{previous_path(path)}, which was saved before it, is used" in one for one in said)


@pytest.mark.parametrize("place", [20, -1])
def test_a_learner_goes_on_from_the_state_before_and_writes_anew(
    one_pass_bundle, pictures, path, place
):
    damaged = damage(path, place)
    with pytest.warns(UserWarning, match="is damaged: .*state.1, which was saved before it"):
        learner = OnDeviceLearner(one_pass_bundle, path)
    assert learner.is_current(path)
    learner.learn({"blue": pictures("blue", 3)}, epochs=1)
    learner.save(path)
    progress = load_state(path)[1].progress
    assert (progress["lessons"], progress["generation"]) == (2, 3)  # no two are of one generation
    assert damaged_path(path).read_bytes() == damaged
    assert load_state(previous_path(path))[1].class_names == ("red",)
    names = {each.name for each in path.parent.iterdir()}
    assert names - kept(path.parent) == {"state", "state.1", "state.damaged"}
    assert len(kept(path.parent)) == 2
    OnDeviceLearner(one_pass_bundle, path)


def test_a_state_that_another_program_mended_is_not_overwritten(one_pass_bundle, pictures, path):
    content = path.read_bytes()
    damage(path)
    first, second = (OnDeviceLearner(one_pass_bundle, path, say=list) for _ in range(2))
    first.learn({"blue": pictures("blue", 2)}, epochs=1)
    first.save(path)
    with pytest.raises(InputError, match="was written by another program meanwhile"):
        second.save(path)
    path.write_bytes(content)


def test_what_is_not_finite_is_not_written(one_pass_bundle, path, monkeypatch):
    learner, before = OnDeviceLearner(one_pass_bundle, path), path.read_bytes()
    files = sorted(path.parent.iterdir())
    known = learner._knowledge
    broken = known.state["classes.mean"] * float("nan")
    learner._knowledge = type(known)(
        known.state.replace({"classes.mean": broken}),
        known.class_names,
        known.lessons,
        known.kept,
        known.journal,
    )
    reason = f"what is known is not written to {path}: state tensor 'classes.mean' holds nan at"
    with pytest.raises(InputError, match=re.escape(reason)):
        learner.save(path)
    assert path.read_bytes() == before
    assert sorted(path.parent.iterdir()) == files


def test_an_inbox_goes_on_from_the_state_before_and_says_so(
    one_pass_bundle, pictures, path, write_classes, tmp_path
):
    said: list[str] = []
    learner = OnDeviceLearner(one_pass_bundle, path, say=said.append)
    inbox = Inbox(tmp_path / "inbox", learner, path, say=said.append)
    for number, label in enumerate(("blue", "grey")):
        write_classes(inbox.waiting / str(number), label)
    inbox.learn_next(lambda images: learner.learn(images, epochs=1))
    path.write_bytes(path.read_bytes()[:100])
    inbox.learn_next(lambda images: learner.learn(images, epochs=1))
    assert any("is damaged" in one for one in said)
    assert load_state(path)[1].class_names == ("red", "green", "grey")
    assert inbox.learn_next(lambda images: []) is None


COMMANDS = (
    "predict {bundle} {photo} --state {state}",
    "learn {bundle} --images {photos} --state {state} --epochs 1",
    "watch {bundle} --inbox {inbox} --state {state} --once",
    "inspect {state} --json",
    "inspect {state} --json --bundle {bundle}",
    "rename {bundle} red rot --state {state}",
    "history {bundle} --state {state}",
    "merge {state} {whole} --bundle {bundle} --out {out}",
    "merge {state} {whole} --prefix --bundle {bundle} --out {out}",
)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("place", [8, -1])
def test_every_command_that_reads_a_state_falls_back_and_says_it_once(
    one_pass_bundle, pictures, path, write_classes, tmp_path, command, place
):
    photos = write_classes(tmp_path / "photos", "blue", count=2)
    whole = tmp_path / "whole"
    whole.write_bytes(previous_path(path).read_bytes())
    for zipped in tmp_path.glob("state.*.kept.zip"):
        (tmp_path / zipped.name.replace("state", "whole")).write_bytes(zipped.read_bytes())
    damage(path, place)
    places = {
        "bundle": one_pass_bundle,
        "state": path,
        "photos": photos,
        "photo": photos / "blue" / "0.png",
        "inbox": tmp_path / "inbox",
        "whole": whole,
        "out": tmp_path / "out",
    }
    result = CliRunner().invoke(main, command.format(**places).split())
    assert result.exit_code == 0, result.output
    assert result.stderr.count(f"note: state file {path} is damaged: {path}.1, which was") == 1
    if "--json" in command:
        assert json.loads(result.stdout)["generation"] == 1


@pytest.mark.parametrize(
    "command",
    [
        "learn {bundle} --images {photos} --state {state}",
        "learn {bundle} --images {photos} --out {state} --no-state",
        "watch {bundle} --inbox {inbox} --state {state} --once",
        "predict {bundle} {photos} --state {state}",
        "inspect {state}",
    ],
)
def test_where_only_the_state_before_is_left_a_command_says_what_to_do(
    one_pass_bundle, path, write_classes, tmp_path, command
):
    path.unlink()
    photos = write_classes(tmp_path / "photos", "blue", count=2)
    before = sorted(each for each in tmp_path.iterdir())
    places = {"bundle": one_pass_bundle, "state": path, "photos": photos, "inbox": tmp_path / "in"}
    result = CliRunner().invoke(main, command.format(**places).split())
    assert result.exit_code == 1
    assert f"{path} does not exist, and {path}.1, which was saved before it, does; rename" in (
        result.stderr
    )
    assert sorted(each for each in tmp_path.iterdir()) == before


def test_the_pictures_of_a_state_for_its_owner_are_for_its_owner(one_pass_bundle, pictures, path):
    learner = OnDeviceLearner(one_pass_bundle, path)
    path.chmod(0o600)
    learner.learn({"red": pictures("red", 2, seed=1)}, epochs=1, keep=3)
    learner.save(path)
    digits = load_state(path)[1].progress["kept"]["sha256"][:16]
    for each in (path, previous_path(path), path.with_name(f"state.{digits}.kept.zip")):
        assert each.stat().st_mode & 0o777 == 0o600


def test_what_is_forgotten_for_good_is_not_in_the_state_before(one_pass_bundle, path):
    command = f"forget {one_pass_bundle} red --for-good --state {path}"
    result = CliRunner().invoke(main, command.split())
    assert result.exit_code == 0, result.output
    for each in (path, previous_path(path)):
        assert load_state(each)[1].class_names == ("green",)
    digits = load_state(path)[1].progress["kept"]["sha256"][:16]
    assert kept(path.parent) == {f"state.{digits}.kept.zip"}


def test_behind_a_link_all_files_stand_beside_the_state(one_pass_bundle, pictures, path, tmp_path):
    link = tmp_path / "elsewhere" / "link"
    link.parent.mkdir()
    link.symlink_to(path)
    learner = OnDeviceLearner(one_pass_bundle, link)
    assert learner.is_current(path)
    learner.learn({"blue": pictures("blue", 2)}, epochs=1)
    learner.save(link)
    assert list(link.parent.iterdir()) == [link]
    assert link.is_symlink()
    assert OnDeviceLearner(one_pass_bundle, path).kept == learner.kept


def test_the_same_knowledge_makes_the_same_bytes(one_pass_bundle, path, tmp_path):
    learner = OnDeviceLearner(one_pass_bundle, path)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        learner.save(tmp_path / name / "state")
    files = [{p.name: p.read_bytes() for p in (tmp_path / n).iterdir()} for n in ("a", "b")]
    assert files[0] == files[1]
    assert len(files[0]) == 2
