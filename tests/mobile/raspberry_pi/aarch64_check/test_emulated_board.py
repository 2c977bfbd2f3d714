"""Running on an installed system, with an emulator that just runs its command."""

from pathlib import Path

import pytest

from mobile.raspberry_pi.aarch64_check.emulated_board import PROCESSORS, EmulatedBoard, make_root

QEMU = '#!/bin/sh\necho "$2" >&2; shift 4; exec "$@"\n'
PYTHON = """\
#!/bin/sh
echo "$@"; echo "$PYTHONPATH"; echo "$LD_LIBRARY_PATH"; echo "$GIVEN$LEAK"
exit 7
"""


def write_program(path, script):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(script)
    path.chmod(0o755)


@pytest.fixture
def system(tmp_path):
    """A system of one program, with a root for each processor."""
    write_program(tmp_path / "qemu", QEMU)
    write_program(tmp_path / "root" / "usr" / "bin" / "python3.13", PYTHON)
    write_program(tmp_path / "root" / "usr" / "bin" / "true", "#!/bin/sh\necho well\n")
    for processor in PROCESSORS:
        make_root(tmp_path, processor)
    return tmp_path


@pytest.mark.parametrize("processor", PROCESSORS)
def test_each_processor_has_the_system_and_names_itself(system, processor):
    root = system / processor
    assert (root / "usr" / "bin" / "python3.13").read_text() == PYTHON
    lines = (root / "proc" / "cpuinfo").read_text().splitlines()
    assert lines.count(f"CPU part\t: {PROCESSORS[processor]}") == 4
    assert any("asimddp" in line for line in lines) == (processor == "cortex-a76")


@pytest.mark.parametrize("there", [False, True])
def test_libraries_are_found_where_a_release_has_them(tmp_path, there):
    """Bookworm's libc lies in /lib, trixie's in /usr/lib, where /lib is to lead."""
    library = tmp_path / "root" / ("lib" if there else "usr/lib") / "libc.so.6"
    library.parent.mkdir(parents=True)
    library.touch()
    make_root(tmp_path, "cortex-a53")
    assert (tmp_path / "cortex-a53" / "lib" / "libc.so.6").exists()


def test_a_module_runs_with_the_wheels_and_the_checkout(system, monkeypatch):
    monkeypatch.setenv("LEAK", "leak")
    board = EmulatedBoard(system / "qemu", system, "3.13", "cortex-a72")
    result = board.run_module("some.module", ["a", Path("b")], 60, {"GIVEN": "given"})
    assert (result.returncode, result.stderr) == (7, "cortex-a72\n")
    arguments, python_path, library_path, given = result.stdout.split("\n")[:4]
    assert arguments == "-m some.module a b"
    wheels, checkout = python_path.split(":")
    assert Path(wheels) == system / "wheels"
    assert (Path(checkout) / "mobile" / "raspberry_pi").is_dir()
    assert Path(library_path) == system / "stubs"
    assert given == "given"


def test_what_a_program_says(system):
    board = EmulatedBoard(system / "qemu", system, "3.13", "cortex-a53")
    assert board.ask("true", []) == "well\n"
