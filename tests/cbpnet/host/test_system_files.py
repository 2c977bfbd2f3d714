"""What Linux tells, read from made-up files."""

import pytest

from cbpnet.host.system_files import memory_mb, read_system_file


def test_a_file_that_is_not_there_is_empty(tmp_path):
    assert read_system_file(tmp_path / "absent") == ""
    assert memory_mb(tmp_path / "absent") == {}


def test_what_is_no_text_is_read_all_the_same(tmp_path):
    (tmp_path / "model").write_bytes(b"Raspberry Pi\xff\n")
    assert read_system_file(tmp_path / "model") == "Raspberry Pi\ufffd\n"


def test_memory_is_in_megabytes_by_name(tmp_path):
    text = "MemTotal:        1000 kB\nMemAvailable:   500 kB\nHugePages_Total:       0\n"
    (tmp_path / "meminfo").write_text(text)
    found = memory_mb(tmp_path / "meminfo")
    assert found == {"MemTotal": pytest.approx(1.024), "MemAvailable": pytest.approx(0.512)}
