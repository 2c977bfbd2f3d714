"""The commands that correct what a state knows, and merge states."""

import json
import shutil

import pytest
from click.testing import CliRunner
from PIL import Image

from mobile.cli import main


@pytest.fixture
def run(one_pass_bundle, pictures, tmp_path, monkeypatch):
    """Return a function that runs a command in a folder with a bundle and two lessons learnt."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(one_pass_bundle, "pets.pte")
    for folder, lesson in (("a", {"red": 1, "green": 1}), ("b", {"blue": 2})):
        for label, seed in lesson.items():
            place = tmp_path / folder / label
            place.mkdir(parents=True)
            for number, picture in enumerate(pictures(label, 5, seed)):
                Image.fromarray(picture).save(place / f"{number}.png")

    def run(*arguments, status=0):
        found = CliRunner().invoke(main, list(arguments))
        assert found.exit_code == status, found.output
        return found.stdout if status == 0 else found.stderr

    for folder in "ab":
        run("learn", "pets.pte", "--images", folder)
    return run


def known(run):
    found = run("predict", "pets.pte", "a/green/0.png", "--top", "9", "--json")
    return {one["label"] for one in json.loads(found)["classes"]}


def test_each_command_says_what_changed_and_how_to_take_it_back(run):
    found = run("forget", "pets.pte", "red")
    assert "forgot red\n  red: 5 images -> not known\n" in found
    assert "take it back: cbpnet-mobile undo pets.pte --state pets.safetensors" in found
    assert known(run) == {"green", "blue"}
    found = run("undo", "pets.pte")
    assert "undone: forgot red\n  red: not known -> 5 images\n" in found
    assert "take it back: cbpnet-mobile redo" in found
    assert known(run) == {"red", "green", "blue"}
    run("redo", "pets.pte")
    run("rename", "pets.pte", "green", "leaf")
    assert known(run) == {"leaf", "blue"}
    run("relabel", "pets.pte", "b/blue", "--as", "leaf")
    assert known(run) == {"leaf"}
    run("undo", "pets.pte")
    found = run("relabel", "pets.pte", "--class", "blue", "--as", "leaf", "--json")
    found = json.loads(found)
    assert found["classes"] == {"leaf": 10}
    assert (found["event"]["kind"], found["event"]["label"]) == ("merge", "blue")


def test_the_history_of_a_state(run):
    run("forget", "pets.pte", "red")
    run("undo", "pets.pte")
    found = json.loads(run("history", "pets.pte", "--json"))
    assert [(one["number"], one["kind"], one["is"]) for one in found] == [
        (1, "taught", "in force"),
        (2, "taught", "in force"),
        (3, "forget", "undone"),
    ]
    assert found[0]["names"] == ["green", "red"]
    assert found[0]["source"] == "a"
    assert "taught 5 blue from b" in run("history", "pets.pte")


def test_what_cannot_be_corrected_is_said(run):
    assert "'cat' is not known; known are green, red, blue" in run(
        "forget", "pets.pte", "cat", status=1
    )
    assert "name the pictures, or the class" in run("relabel", "pets.pte", "--as", "x", status=2)
    run("undo", "pets.pte")
    run("undo", "pets.pte")
    assert "nothing has been learnt" in run("undo", "pets.pte", status=1)


def test_without_a_journal(run):
    run("learn", "pets.pte", "--images", "b", "--journal", "off")
    assert "cannot be undone" in run("undo", "pets.pte", status=1)
    assert "settled" in run("history", "pets.pte")
    assert "off, or megabytes" in run(
        "learn", "pets.pte", "--images", "b", "--journal", "much", status=2
    )


def test_states_are_merged(run):
    run("learn", "pets.pte", "--images", "b", "--out", "b.safetensors")
    for folder, new in (("x", "cat"), ("y", "dog")):
        shutil.copytree("b/blue", f"{folder}/{new}")
        run(
            *("learn", "pets.pte", "--images", folder, "--state", "pets.safetensors"),
            *("--out", f"{folder}.safetensors"),
        )
    found = run("merge", "x.safetensors", "y.safetensors", "--out", "all.safetensors")
    assert "wrote all.safetensors: 5 classes of 4 lessons, 2 of them in several states" in found
    found = run(
        *("merge", "x.safetensors", "y.safetensors", "--map", "dog=cat", "--json"),
        *("--bundle", "pets.pte", "--out", "all.safetensors"),
    )
    found = json.loads(found)
    assert found["classes"]["cat"] == 10
    assert found["clashes"] == {"cat": ["x.safetensors", "y.safetensors"]}
    found = run(
        *("merge", "x.safetensors", "y.safetensors", "--prefix", "--json"),
        *("--out", "all.safetensors"),
    )
    assert set(json.loads(found)["classes"]) == {"green", "red", "blue", "x-cat", "y-dog"}
    assert "two states" in run("merge", "x.safetensors", "--out", "c", status=2)
    assert "OLD=NEW" in run(
        "merge", "x.safetensors", "y.safetensors", "--map", "dog", "--out", "c", status=2
    )
