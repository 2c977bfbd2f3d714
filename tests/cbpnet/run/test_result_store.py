"""A kept record comes back as it was, under its own settings only."""

import pytest

from cbpnet.host.errors import InputError
from cbpnet.run.lesson import Decision
from cbpnet.run.protocol import Learnt, ProtocolRecord, TaskAccuracy, TaskOutcome
from cbpnet.run.result_store import ResultStore

SETTINGS = {"seed": 1, "sizes": (2, 3), "rates": {"head": 0.1}}
RECORD = ProtocolRecord(
    (
        TaskOutcome(0, (TaskAccuracy(0, {"b": 1 / 3, "a": 0.1}, None),), None, None, 0.25, 1e3 / 3),
        TaskOutcome(
            1,
            (TaskAccuracy(0, {"b": 0.5, "a": 1.0}, 2 / 3, forwards=2),),
            Learnt(70, Decision("foreign", 0.7, 1 / 3, 60)),
            1 / 7,
            2.5,
            1.0,
        ),
    ),
    query_seconds=0.1 + 0.2,
)


def test_a_record_comes_back_bit_for_bit(tmp_path):
    ResultStore(tmp_path, SETTINGS, ProtocolRecord).keep("one", RECORD)
    store = ResultStore(tmp_path, SETTINGS, ProtocolRecord)
    assert store.find("one") == RECORD
    assert store.find("other") is None
    first = store.find("one").outcomes[0]
    assert list(first.tested[0].accuracy) == ["b", "a"]


def test_a_record_is_replaced(tmp_path):
    store = ResultStore(tmp_path, SETTINGS, ProtocolRecord)
    store.keep("one", RECORD)
    store.keep("one", ProtocolRecord(RECORD.outcomes[:1]))
    assert store.find("one") == ProtocolRecord(RECORD.outcomes[:1])
    assert [path.name for path in tmp_path.iterdir()] == ["one.json"]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"seed": 2}, "seed"),
        ({"sizes": (3, 2), "rates": {"head": 0.2}}, "rates, sizes"),
        ({"more": None, "kind": "x"}, "kind"),
    ],
)
def test_a_record_of_other_settings_is_refused_by_their_names(tmp_path, changes, named):
    ResultStore(tmp_path, SETTINGS, ProtocolRecord).keep("one", RECORD)
    with pytest.raises(InputError, match=rf"one\.json was run with other settings \({named}\); "):
        ResultStore(tmp_path, SETTINGS | changes, ProtocolRecord).find("one")


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"settings": {}}', '{"settings": {}, "record": 3}', '{"record": {}}', "\xff"],
)
def test_a_damaged_file_is_refused(tmp_path, content):
    store = ResultStore(tmp_path, SETTINGS, ProtocolRecord)
    store.path("one").write_bytes(content.encode("latin-1"))
    with pytest.raises(InputError, match=r"one\.json is not a kept run .*; delete it"):
        store.find("one")


def test_what_cannot_be_written_is_said(tmp_path):
    with pytest.raises(InputError, match="cannot write"):
        ResultStore(tmp_path / "nowhere", SETTINGS, ProtocolRecord).keep("one", RECORD)
