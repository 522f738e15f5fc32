"""What is known of TPU chips, and the slices of them that a plan can be made for.

Peaks are per chip, from the table "System architecture" of https://cloud.google.com/tpu/docs/v4 (and v5e, v5p, v6e in its
place): bfloat16 FLOP/s, HBM bandwidth, and the bandwidth of all links between chips together. `hbm_bytes` is less than the
datasheet says: it is what the compiler's own error message leaves to a program.
"""

import dataclasses
import math
import re

from pvchat_jax.errors import UserError

_GIB = 2**30


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chip:
    """One kind of TPU chip.

    Attributes:
      flops_per_second: bfloat16 peak. hbm_bytes_per_second, ici_bytes_per_second: peaks of memory and of the links between chips.
      hbm_bytes: memory that a program may use.
      num_dimensions: of its slices, such as 2 for v5e:4x4.
      examples: slices that can be rented, small ones first; `--sweep` tries them.
      compiler_options: what the TPU compiler has to be told to see whole chips.
    """

    name: str
    flops_per_second: float
    hbm_bytes: int
    hbm_bytes_per_second: float
    ici_bytes_per_second: float
    num_dimensions: int
    examples: tuple[str, ...]
    compiler_options: tuple[tuple[str, str], ...] = ()


CHIPS = {
    chip.name: chip
    for chip in (
        Chip(
            name="v4",
            flops_per_second=275e12,
            hbm_bytes=int(30.75 * _GIB),
            hbm_bytes_per_second=1228e9,
            ici_bytes_per_second=300e9,  # 2400 Gbit/s
            num_dimensions=3,
            examples=("2x2x1", "2x2x2", "2x2x4", "2x4x4", "4x4x4"),
            compiler_options=(("chip_config_name", "megacore"),),  # else each of its two cores counts as a device of half the memory
        ),
        Chip(
            name="v5e",
            flops_per_second=197e12,
            hbm_bytes=int(15.75 * _GIB),
            hbm_bytes_per_second=819e9,
            ici_bytes_per_second=200e9,  # 1600 Gbit/s
            num_dimensions=2,
            examples=("2x2", "2x4", "4x4", "4x8", "8x8"),
        ),
        Chip(
            name="v5p",
            flops_per_second=459e12,
            hbm_bytes=int(95.73 * _GIB),
            hbm_bytes_per_second=2765e9,
            ici_bytes_per_second=600e9,  # 4800 Gbit/s
            num_dimensions=3,
            examples=("2x2x1", "2x2x2", "2x2x4", "2x4x4", "4x4x4"),
        ),
        Chip(
            name="v6e",
            flops_per_second=918e12,
            hbm_bytes=int(31.24 * _GIB),
            hbm_bytes_per_second=1640e9,
            ici_bytes_per_second=448e9,  # 3584 Gbit/s
            num_dimensions=2,
            examples=("2x2", "2x4", "4x4", "4x8", "8x8"),
        ),
    )
}


@dataclasses.dataclass(frozen=True)
class Topology:
    """A slice: `num_chips` chips of one kind in a grid of `shape`; `name` is as given, `v5e:4x4`."""

    name: str
    chip: Chip
    shape: tuple[int, ...]

    @property
    def num_chips(self) -> int:
        return math.prod(self.shape)


def parse_topology(name: str) -> Topology:
    """The slice that a name such as `v5e:4x4` stands for.

    Raises:
      UserError: the chip is not known, or the grid is none that it comes in.
    """
    kind, _, grid = name.partition(":")
    known = "; ".join(f"{chip.name}:{{{','.join(chip.examples)}}}" for chip in CHIPS.values())
    if kind not in CHIPS or not re.fullmatch(r"[1-9]\d*(x[1-9]\d*)*", grid):
        raise UserError(f"there is no topology '{name}'; --topology takes a chip and a grid, such as {known}.")
    chip, shape = CHIPS[kind], tuple(map(int, grid.split("x")))
    if len(shape) != chip.num_dimensions:
        raise UserError(f"topology '{name}' has {len(shape)} dimensions and {kind} has {chip.num_dimensions}; choose among {known}.")
    return Topology(name, chip, shape)
