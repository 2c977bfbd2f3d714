"""What another machine would need, estimated from counted arithmetic and bytes.

A call's multiply-accumulates are those of frozen layers (int8) and the rest (fp32): attention, and
one for each element that any other operator gives. At its peak a machine takes

    bound = int8 / (cores * clock * int8 a cycle) + fp32 / (cores * clock * fp32 a cycle)

and no less than reading the int8 weights takes, once for each direction. By how much a measured
time is above the bound is taken to be the same everywhere: ``share = bound here / measured here``
and ``estimate = bound there / share``. Caches, kernels and clocks under load differ: it is an
estimate.
"""

from dataclasses import dataclass

from cbpnet.host.errors import InputError

__all__ = ["HERE", "MACHINES", "Arithmetic", "Machine", "bound_ms", "count", "estimate_ms"]


@dataclass(frozen=True)
class Machine:
    """Cores that compute, their clock in GHz, multiply-accumulates a cycle and core, and GB/s."""

    name: str
    cores: int
    clock: float
    int8_a_cycle: int
    fp32_a_cycle: int
    bandwidth: float
    source: str


# VPDPBUSD has 64 products of bytes, VFMADD 16 of floats; SDOT has 16 and FMLA 4.
HERE = Machine(
    "this machine, 2 threads",
    2,
    3.9,
    128,
    32,
    40.0,
    "AMD EPYC of family 26 (Zen 5): two 512-bit VPDPBUSD (AVX512-VNNI) or VFMADD a cycle; the "
    "clock was measured with dependent additions, the bandwidth is assumed and binds nothing",
)
_ARM = "two 128-bit SDOT or FMLA a cycle"
MACHINES = (
    Machine(
        "Raspberry Pi 5, 4 threads",
        4,
        2.4,
        32,
        8,
        17.0,
        f"4 Cortex-A76 at 2.4 GHz, {_ARM} (Arm, Cortex-A76 Software Optimization Guide); "
        "LPDDR4X-4267, 32 bits wide",
    ),
    Machine(
        "phone of the middle class, its 2 large cores",
        2,
        2.4,
        32,
        8,
        17.0,
        f"2 Cortex-A78 at 2.4 GHz, {_ARM} (Arm, Cortex-A78 Software Optimization Guide); "
        "LPDDR4X-4266, 32 bits wide",
    ),
)


@dataclass(frozen=True)
class Arithmetic:
    """Multiply-accumulates of a call in int8 and in fp32, and bytes of int8 weights it reads."""

    int8: int
    fp32: int
    weight_bytes: int


def count(macs: int, depth: int, dim: int, patches: int, patch: int, backward: bool) -> Arithmetic:
    """Return the arithmetic of one image of a plain ViT with a class token, hidden layers of 4 D.

    The last layer drops all other tokens after attention. The backward pass ends at the first
    layer's prefix, before its keys and values are projected.

    Args:
        macs: all that the manifest counts, for one image.
        depth: layers.
        dim: width D.
        patches: tokens but for the class token.
        patch: a patch's side in pixels.
        backward: whether the call goes back too.

    Raises:
        InputError: the frozen layers alone have more than ``macs``.
    """
    tokens = patches + 1
    square = dim * dim
    layers = (depth - 1) * 12 * square * tokens + 3 * square * tokens + 9 * square
    int8 = layers + patches * 3 * patch**2 * dim
    weights = 12 * depth * square + 3 * patch**2 * dim
    if backward:
        int8 += layers - 3 * square * tokens
        weights += (12 * depth - 3) * square
    if int8 > macs:
        raise InputError(
            f"the manifest counts {macs} multiply-accumulates, fewer than the {int8} of the frozen "
            "layers; it must be of a plain ViT with this depth, width and image size"
        )
    return Arithmetic(int8, macs - int8, weights)


def bound_ms(machine: Machine, work: Arithmetic) -> float:
    """Return the milliseconds that a machine takes at its peak."""
    cycles = machine.cores * machine.clock * 1e6  # a millisecond
    computing = work.int8 / machine.int8_a_cycle + work.fp32 / machine.fp32_a_cycle
    return max(computing / cycles, work.weight_bytes / (machine.bandwidth * 1e6))


def estimate_ms(there: Machine, here: Machine, work: Arithmetic, measured_ms: float) -> float:
    """Return the milliseconds that another machine would take, from those measured here."""
    return bound_ms(there, work) * measured_ms / bound_ms(here, work)
