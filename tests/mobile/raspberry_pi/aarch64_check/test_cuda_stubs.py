"""Stand-ins for missing libraries, from what readelf and nm would say of made-up ones."""

import pytest

from mobile.raspberry_pi.aarch64_check.cuda_stubs import make_stubs

NEEDED = " 0x0000000000000001 (NEEDED)             Shared library: [{}]\n"


class Binutils:
    """Answers as readelf and nm do, and remembers what it was asked."""

    def __init__(self, needed, symbols):
        self.needed, self.symbols = needed, symbols
        self.calls = []

    def __call__(self, program, arguments):
        self.calls.append((program, [str(argument) for argument in arguments]))
        match program:
            case "readelf":
                return "File: x\n" + "".join(NEEDED.format(name) for name in self.needed)
            case "nm":
                (which,) = {"--undefined-only", "--defined-only"} & set(arguments)
                return "".join(
                    f"{path}:\n" + self.symbols[path.name][which == "--defined-only"]
                    for path in arguments[4:]
                )
            case _:
                return ""


@pytest.fixture
def folders(tmp_path):
    for name in ("torch/libtorch.so", "torch/libc10.so", "root/lib/libc.so.6", "root/bin/python"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "out").mkdir()
    return tmp_path


def make(run, folders):
    root = folders / "root"
    return make_stubs(run, folders / "torch", root, root / "bin" / "python", folders / "out")


def test_what_nobody_has_is_stood_in_for(folders):
    run = Binutils(
        ["libc.so.6", "libc10.so", "libcudart.so.13", "libcublas.so.13", "libcudart.so.13"],
        {
            "libtorch.so": (
                "malloc U\ncudaMalloc U\nc10_warn U\nPy_None U\ncublasCreate U\n__gmon w\nobj v\n",
                "torch_version T 0 8\n",
            ),
            "libc10.so": ("free U\ncudaMalloc U\n", "c10_warn W 10 8\n"),
            "libc.so.6": ("", "malloc T 0 8\nfree T 8 8\n"),
            "python": ("", "Py_None D 0 8\n"),
        },
    )
    assert make(run, folders) == ["libcublas.so.13", "libcudart.so.13"]
    out = folders / "out"
    assert (out / "stubs.s").read_text().splitlines() == [
        ".text",
        ".globl cublasCreate",
        "cublasCreate:",
        ".globl cudaMalloc",
        "cudaMalloc:",
        "mov w0, #100",
        "ret",
    ]
    together = str(out / "liball_stubs.so")
    shared = ["-shared", "-soname"]
    assert run.calls[-4:] == [
        ("as", ["-o", str(out / "stubs.o"), str(out / "stubs.s")]),
        ("ld", [*shared, "liball_stubs.so", "-o", together, str(out / "stubs.o")]),
        *(
            ("ld", [*shared, name, "-o", str(out / name), together])
            for name in ("libcublas.so.13", "libcudart.so.13")
        ),
    ]


def test_a_build_for_the_cpu_needs_no_stand_in(folders):
    run = Binutils(["libc.so.6", "libc10.so"], {})
    assert make(run, folders) == []
    assert [program for program, _ in run.calls] == ["readelf"]
