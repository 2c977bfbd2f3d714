"""A Raspberry Pi's processor, emulated by qemu's user mode, with the actual aarch64 wheels on it.

No root, chroot, mount or binfmt: qemu looks for the system's files in a folder first.
"""

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["CHECKOUT", "PROCESSORS", "EmulatedBoard", "make_root"]

CHECKOUT = Path(__file__).resolve().parents[3]

# By qemu's name, the part number in /proc/cpuinfo: of a Zero 2 W, a Raspberry Pi 4 and a 5.
PROCESSORS = {"cortex-a53": "0xd03", "cortex-a72": "0xd08", "cortex-a76": "0xd0b"}

_CORES = 4
_CORE = """\
processor\t: {number}
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid{more}
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: {part}
CPU revision\t: 3

"""
_OF_ARMV8_2 = {"cortex-a76": " atomics fphp asimdhp asimdrdm lrcpc dcpop asimddp"}


@dataclass(frozen=True)
class EmulatedBoard:
    """An installed system, and the processor that it runs on.

    Attributes:
        emulator: qemu's program.
        system: folder of the system.
        python_version: of the system's Python, as 3.13.
        processor: its name, as qemu has it.
    """

    emulator: Path
    system: Path
    python_version: str
    processor: str

    @property
    def python(self) -> Path:
        """The system's Python."""
        return self._program(f"python{self.python_version}")

    def ask(self, program: str, arguments: Sequence[str | Path]) -> str:
        """Run a program of /usr/bin, which should end well, and return what it printed."""
        result = self._run([self._program(program), *arguments], environment={}, timeout=None)
        result.check_returncode()
        return result.stdout

    def run_module(
        self,
        module: str,
        arguments: Sequence[str | Path],
        timeout: float | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a module with Python, the checkout, the wheels and nothing else."""
        places = {
            "PYTHONPATH": f"{self.system / 'wheels'}:{CHECKOUT}",
            "LD_LIBRARY_PATH": str(self.system / "stubs"),
        }
        return self._run(
            [self.python, "-m", module, *arguments], places | dict(environment or {}), timeout
        )

    def _program(self, name: str) -> Path:
        return self.system / self.processor / "usr" / "bin" / name

    def _run(
        self,
        command: Sequence[str | Path],
        environment: Mapping[str, str],
        timeout: float | None,
    ) -> subprocess.CompletedProcess[str]:
        root = str(self.system / self.processor)
        return subprocess.run(
            [str(self.emulator), "-cpu", self.processor, "-L", root, *command],
            env=environment,
            capture_output=True,
            text=True,
            timeout=timeout,
        )


def make_root(system: Path, processor: str) -> None:
    """Make the root folder of a processor: the system, and a /proc/cpuinfo that names it.

    Without one ExecuTorch would read this machine's, and not start.

    Args:
        system: folder of the system, in which `root` is.
        processor: its name, as qemu has it.
    """
    root = system / processor
    (root / "proc").mkdir(parents=True)
    for entry in (system / "root").iterdir():
        (root / entry.name).symlink_to(Path("..", "root", entry.name))
    if not (root / "lib").exists():  # from trixie on a link that an installer makes
        (root / "lib").symlink_to(Path("usr", "lib"))
    more = _OF_ARMV8_2.get(processor, "")
    cores = (
        _CORE.format(number=number, part=PROCESSORS[processor], more=more)
        for number in range(_CORES)
    )
    (root / "proc" / "cpuinfo").write_text("".join(cores), encoding="ascii")
