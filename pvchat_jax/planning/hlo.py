"""What a compiled program moves, read from its HLO text: bytes through a chip's memory and over the links between chips.

Loops count as often as they turn: those over layers compare a counter that begins at 0 with a constant. A loop without such a
constant counts once, so that the numbers stay lower bounds.

The TPU compiler runs a collective beside products: it is then written in each fusion that a part of it runs in, all of them with
the same `chain_id`, and counts once.
"""

import math
import re
from collections.abc import Iterator
from typing import NamedTuple

_ITEM_BYTES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s16": 2, "u16": 2, "f32": 4, "s32": 4, "u32": 4, "s64": 8, "u64": 8}
_COLLECTIVES = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute")
_NO_TRAFFIC = ("parameter", "constant", "tuple", "get-tuple-element", "bitcast", "while", "conditional", "call", "after-all")

_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) .*\{$")
_INSTRUCTION = re.compile(r"^\s+(ROOT )?%?([\w.\-]+) = (.*?) ([a-z][a-z0-9\-]*)\((.*)$")
_ARRAY = re.compile(r"\b([a-z][a-z0-9]*)\[([\d,]*)\](\{[^}]*\})?")
_CALLED = re.compile(r"\b(?:calls|to_apply|body)=%?([\w.\-]+)")
_CONDITION = re.compile(r"\bcondition=%?([\w.\-]+)")
_BRANCHES = re.compile(r"\bbranch_computations=\{([^}]*)\}")
_CHAIN = re.compile(r'\bchain_id="(\d+)"')
_OPERAND = re.compile(r"%([\w.\-]+)")
_GROUP_SIZES = re.compile(r"replica_groups=\[\d+,(\d+)\]")
_GROUP_LISTS = re.compile(r"replica_groups=\{\{([\d,]*)\}")
_GROUP_AXES = re.compile(r"replica_groups=mesh\[([^\]]*)\] ?\{([^}]*)\}")


class Movement(NamedTuple):
    """What a chip moves in one run of the program.

    Attributes:
      memory_bytes: every array that lies in memory between two operations, once written and once read.
      collectives: by kind, how many are executed.
      link_bytes: by kind, what the chip receives in them.
    """

    memory_bytes: float
    collectives: dict[str, int]
    link_bytes: dict[str, float]


class _Instruction(NamedTuple):
    name: str
    shape: str
    opcode: str
    rest: str
    is_root: bool

    @property
    def kind(self) -> str:
        """Opcode without what tells the begin of an asynchronous operation."""
        return self.opcode.removesuffix("-start")

    @property
    def called(self) -> list[str]:
        branches = [name.strip().lstrip("%") for match in _BRANCHES.finditer(self.rest) for name in match[1].split(",")]
        return _CALLED.findall(self.rest) + branches

    @property
    def chain(self) -> str | None:
        """What the parts of one collective have in common, if it was divided."""
        match = _CHAIN.search(self.rest) if self.kind in _COLLECTIVES else None
        return match and match[1]


def read_movement(text: str) -> Movement:
    """What the program of an HLO text (`compiled.as_text()`) moves."""
    computations, entry = _parse(text)
    memory = 0.0
    counts = dict.fromkeys(_COLLECTIVES, 0)
    received = dict.fromkeys(_COLLECTIVES, 0.0)
    chains: set[str] = set()
    for name, times, in_memory in _runs(computations, entry, 1, True):
        for instruction in computations[name]:
            if instruction.kind in _COLLECTIVES and instruction.chain not in chains:
                if instruction.chain:
                    chains.add(instruction.chain)
                    memory += 2 * times * _result_bytes(instruction, computations[name])
                keeps_part = name.startswith("all-reduce-scatter")  # a fusion of the sum of everything and the choice of a part of it
                kind = "reduce-scatter" if keeps_part else instruction.kind
                counts[kind] += times
                received[kind] += times * _received_bytes(instruction) / (2 if keeps_part else 1)
            if in_memory:
                memory += 2 * times * _written_bytes(instruction, computations)
    seen = [kind for kind in _COLLECTIVES if counts[kind]]
    return Movement(memory, {kind: counts[kind] for kind in seen}, {kind: received[kind] for kind in seen})


def _parse(text: str) -> tuple[dict[str, list[_Instruction]], str]:
    """Computations by name, and the name of the one that the program starts with."""
    computations: dict[str, list[_Instruction]] = {}
    entry = name = ""
    for line in text.splitlines():
        if match := _INSTRUCTION.match(line):
            if name:
                computations[name].append(_Instruction(match[2], match[3], match[4], match[5], bool(match[1])))
        elif (match := _COMPUTATION.match(line)) and not line.startswith("HloModule"):
            name = match[2]
            computations[name] = []
            entry = name if match[1] else entry
    return computations, entry


def _runs(computations: dict[str, list[_Instruction]], name: str, times: int, in_memory: bool) -> Iterator[tuple[str, int, bool]]:
    """(computation, how often it runs, whether its results lie in memory) of everything that is called from `name`."""
    yield name, times, in_memory
    for instruction in computations[name]:
        trips = _trips(computations, instruction) if instruction.opcode == "while" else 1
        stays = in_memory and instruction.opcode in ("while", "conditional", "call")
        for called in instruction.called:
            if called in computations:
                yield from _runs(computations, called, times * trips, stays)


def _trips(computations: dict[str, list[_Instruction]], loop: _Instruction) -> int:
    condition = _CONDITION.search(loop.rest)
    inside = computations.get(condition[1], []) if condition else []
    constants = [int(match[1]) for each in inside if each.opcode == "constant" and (match := re.match(r"(\d+)\)", each.rest))]
    return max(constants, default=1)


def _group_size(instruction: _Instruction) -> int:
    """Chips that take part in a collective together, from any of the forms in which groups are written."""
    if match := _GROUP_SIZES.search(instruction.rest):
        return int(match[1])
    if match := _GROUP_LISTS.search(instruction.rest):
        return len(match[1].split(","))
    if match := _GROUP_AXES.search(instruction.rest):
        sizes = dict(re.findall(r"'([^']+)'=(\d+)", match[1]))
        return math.prod(int(sizes[axis]) for axis in re.findall(r"'([^']+)'", match[2]))
    return 1


def _array_bytes(shape: str, *, everywhere: bool = False) -> list[int]:
    """Bytes of each array of a shape, without those in the chip's fast memory (`S(1)`)."""
    return [
        math.prod(map(int, filter(None, dimensions.split(",")))) * _ITEM_BYTES[kind]
        for kind, dimensions, layout in _ARRAY.findall(shape)
        if kind in _ITEM_BYTES and (everywhere or "S(1)" not in layout)
    ]


def _received_bytes(instruction: _Instruction) -> float:
    size = _group_size(instruction)
    arrays = _array_bytes(instruction.shape, everywhere=True)
    if instruction.opcode in ("all-gather-start", "collective-permute-start"):  # its shape names what goes in and what comes out
        arrays = arrays[1:2] if instruction.kind == "collective-permute" else arrays[len(arrays) // 2 :]
    received = {
        "all-gather": (size - 1) / size,
        "all-reduce": 2 * (size - 1) / size,
        "reduce-scatter": size - 1,
        "all-to-all": (size - 1) / size,
        "collective-permute": 1,
    }
    return sum(arrays) * received[instruction.kind]


def _result_bytes(collective: _Instruction, fusion: list[_Instruction]) -> float:
    """Bytes of the result of a divided collective, 0 if its first part says that they lie in the chip's fast memory."""
    (result,) = _array_bytes(collective.shape, everywhere=True)
    return result if any(result in _array_bytes(inner.shape) for inner in fusion if inner.is_root) else 0


def _written_bytes(instruction: _Instruction, computations: dict[str, list[_Instruction]]) -> float:
    if instruction.opcode in _NO_TRAFFIC or instruction.opcode.endswith("-start"):  # its end has the result
        return 0
    if instruction.opcode == "dynamic-update-slice":
        return 0  # of what is in memory already; a small part of it changes
    bodies = [computations[name] for name in instruction.called if name in computations] if instruction.opcode == "fusion" else []
    if len(bodies) == 1 and any(inner.chain for inner in bodies[0]):
        return _written_beside_collective(bodies[0])
    arrays = _array_bytes(instruction.shape)
    updated = {size for body in bodies for inner in body if inner.opcode == "dynamic-update-slice" for size in _array_bytes(inner.shape)}
    return sum(size for size in arrays if size not in updated)


def _written_beside_collective(body: list[_Instruction]) -> float:
    """Bytes that a fusion writes apart from the collective a part of which runs in it, whose operand and result it hands on."""
    made = {inner.name: inner for inner in body}
    results = [made[name] for root in body if root.is_root for name in _OPERAND.findall(root.rest) if name in made]
    return sum(sum(_array_bytes(inner.shape)) for inner in results if inner.opcode != "parameter" and not inner.chain)
