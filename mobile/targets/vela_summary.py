"""What Vela, the compiler for Arm's Ethos-U, says of a compiled network."""

import csv
from pathlib import Path

from cbpnet.host.errors import InputError

__all__ = ["read_summary"]

_KIB_OF = {
    "sram_kib": "sram_memory_used",
    "dram_kib": "dram_memory_used",
    "on_chip_flash_kib": "on_chip_flash_memory_used",
    "off_chip_flash_kib": "off_chip_flash_memory_used",
}


def read_summary(path: Path) -> dict[str, float]:
    """Return figures of Vela's summary, a csv file of one row.

    They are estimates: the cycles of one inference and of the NPU alone, inferences a second, the
    clock in Hz, and the memory used in KiB: ``sram_kib`` and so on.

    Raises:
        InputError: the file is none of Vela's.
    """
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    try:
        (row,) = rows
        return {
            "cycles": float(row["cycles_total"]),
            "npu_cycles": float(row["cycles_npu"]),
            "inferences_per_second": float(row["inferences_per_second"]),
            "clock": float(row["core_clock"]),
            **{name: float(row[column]) for name, column in _KIB_OF.items()},
        }
    except (KeyError, ValueError) as error:
        raise InputError(f"{path} is not a summary of Vela's: {error}") from error
