"""What a conversion will do, worked out from names, shapes and dtypes before anything is read or written."""

import dataclasses
import functools
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import jax
import numpy as np
from flax.core import meta

from converters.key_forms import DERIVED, Conversion, Shape, excuse, table_key
from converters.state_dict_mapping import Entry, entries
from converters.tensor_files import FLOATS, StoredTensor
from pvchat_jax.errors import UserError
from pvchat_jax.models.config import PVChatConfig
from pvchat_jax.models.pvchat import build_pvchat, init_boxed

# The parts that are published on their own, by the first name of a parameter's path; all the rest belongs to the Q-Former.
COMBINED, QFORMER = "combined", "qformer"
PARTS = {"vision_encoder": "vision", "language_model": "language_model"}
# A Q-Former's own file may lack what lies between the parts, and (BLIP-2's second stage removes it) what only text goes through. The
# combined checkpoint may not.
_NOT_IN_EVERY_QFORMER = re.compile(
    r"extra_query_tokens|vision_norm/.*|project_up/.*|qformer/embeddings/(word|position)|qformer/layer_\d+/text_ffn/.*"
)
_SIZES = "--preset of from_torch or --config of verify"
MAX_WRONG = 5
MAX_OF_A_KIND = 3


@dataclasses.dataclass(frozen=True)
class Source:
    """A tensor of the table: where it is stored and how it gets its form."""

    tensor: StoredTensor
    conversion: Conversion | None

    def read(self, config: PVChatConfig) -> np.ndarray:
        values = self.tensor.read()
        return self.conversion.apply(values, config) if self.conversion else values


@dataclasses.dataclass(frozen=True)
class Leaf:
    """A parameter to write: its entry of the table, its shape in our tree, and the sources of its slices."""

    entry: Entry
    shape: Shape
    sources: tuple[Source, ...]

    def slices(self, config: PVChatConfig) -> Iterator[functools.partial]:
        """A function for each slice along the first axis of a stacked parameter, or one for the whole, that reads its values."""
        for source in self.sources:
            yield functools.partial(self._value, source, config)

    def _value(self, source: Source, config: PVChatConfig) -> np.ndarray:
        return self.entry.transform.to_ours(source.read(config)[slice(*self.entry.rows)])


@dataclasses.dataclass(frozen=True)
class Plan:
    """A whole conversion.

    Attributes:
      leaves: parameters to write.
      initialised: paths of parameters that are left for training to initialise.
      excused: why a key of the files is not used.
      changed: what happens to the tensors that change their shape, or are made of another one, by the table's key.
    """

    config: PVChatConfig
    leaves: tuple[Leaf, ...]
    initialised: tuple[str, ...]
    excused: dict[str, str]
    changed: dict[str, str]


def make_plan(tensors: Iterable[StoredTensor], config: PVChatConfig, parts: Sequence[str] = (COMBINED,)) -> Plan:
    """Assigns every tensor to a parameter, or says why not.

    Args:
      parts: the parts of the model to convert; parameters of the others are left to training.

    Raises:
      UserError: a parameter has no tensor, a tensor has no parameter and no excuse, or shapes or dtypes do not fit.
    """
    shapes, sources, excused = parameter_shapes(config), {}, {}
    table = entries(config)
    wanted = [entry for entry in table if COMBINED in parts or _part_of(entry.path) in parts]
    others = [] if COMBINED in parts else [entry for entry in table if _part_of(entry.path) not in parts]
    other_keys = {key for entry in others for key in entry.keys}
    known = {key for entry in wanted for key in entry.keys}
    unknown = []
    for tensor in tensors:
        name, conversion = table_key(tensor.key)
        if name in known:
            if name in sources:
                one, other = sources[name].tensor, tensor
                raise UserError(f"{one.key!r} of {one.file} and {other.key!r} of {other.file} are the same parameter; give one of the two.")
            sources[name] = Source(tensor, conversion)
        elif reason := "of a part that --part leaves out" if name in other_keys else excuse(tensor.key, config):
            excused[tensor.key] = reason
        else:
            unknown.append(tensor.key)
    allowed = tensor_shapes(wanted, shapes)
    _check_tensors(sources, wanted, allowed, config)
    if COMBINED not in parts:
        sources |= _derived(sources, known)
    leaves, initialised, missing = [], [entry.path for entry in others], []
    for entry in wanted:
        lacking = _lacking(entry, sources)
        if not lacking:
            leaves.append(Leaf(entry, shapes[entry.path], tuple(sources[key] for key in entry.keys)))
        elif len(lacking) == len(entry.keys) and (
            entry.optional or (COMBINED not in parts and _NOT_IN_EVERY_QFORMER.fullmatch(entry.path))
        ):
            initialised.append(entry.path)
        else:
            missing.extend(lacking)
    if missing or unknown:
        raise UserError(
            f"the files do not fit the model '{config.name}': {len(missing)} tensors are missing{_listed(missing)} and "
            f"{len(unknown)} are of no known use{_listed(unknown)}; check that the files are complete, that {_SIZES} has theirs, "
            "and that --part of from_torch names what they hold."
        )
    changed = {
        name: source.conversion.note for name, source in sources.items() if source.conversion and source.tensor.shape not in allowed[name]
    }
    return Plan(config, tuple(leaves), tuple(initialised), excused, changed)


@functools.lru_cache(maxsize=8)
def parameter_shapes(config: PVChatConfig) -> Mapping[str, Shape]:
    """Shape of every parameter by `/`-joined path; nothing is allocated."""
    boxed = jax.eval_shape(functools.partial(init_boxed, build_pvchat(config), config), jax.random.key(0))
    leaves = jax.tree.leaves_with_path(meta.unbox(boxed))
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf.shape for path, leaf in leaves}


def tensor_shapes(table: Iterable[Entry], shapes: Mapping[str, Shape]) -> dict[str, tuple[Shape, ...]]:
    """The shapes that each key of the table may have: one, or with and without rows that training adds.

    Args:
      table: entries; those that share a key stand in the order of their rows.
      shapes: of the parameters, by path.
    """
    allowed: dict[str, tuple[Shape, ...]] = {}
    for entry in table:
        ours = shapes[entry.path][1:] if entry.stacked else shapes[entry.path]
        theirs = entry.transform.to_torch(np.broadcast_to(np.int8(0), ours)).shape
        for key in entry.keys:
            before = allowed.get(key, ())
            allowed[key] = (*before, (before[-1][0] + theirs[0], *theirs[1:]) if before else theirs)
    return allowed


def _part_of(path: str) -> str:
    return PARTS.get(path.split("/")[0], QFORMER)


def _derived(sources: Mapping[str, Source], known: Collection[str]) -> dict[str, Source]:
    """Sources of the tensors that no file has and another tensor gives."""
    return {
        name: Source(sources[origin].tensor, conversion)
        for name, (origin, conversion) in DERIVED.items()
        if name in known and name not in sources and origin in sources
    }


def _lacking(entry: Entry, sources: Mapping[str, Source]) -> list[str]:
    """Keys of the entry that no file has; its rows of a tensor may be missing as well."""
    start = entry.rows[0] or 0
    return [key for key in entry.keys if key not in sources or (start and sources[key].tensor.shape[0] <= start)]


def _check_tensors(
    sources: Mapping[str, Source], table: Sequence[Entry], allowed: Mapping[str, tuple[Shape, ...]], config: PVChatConfig
) -> None:
    paths = {key: entry.path for entry in reversed(table) for key in entry.keys}
    wrong = []
    for name, source in sources.items():
        tensor, conversion = source.tensor, source.conversion
        fits = any(conversion.accepts(tensor.shape, shape, config) if conversion else tensor.shape == shape for shape in allowed[name])
        if not fits:
            expected = " or ".join(map(str, allowed[name]))
            wrong.append(f"{tensor.key!r} of {tensor.file} is {tensor.shape}, and {paths[name]} needs {expected}")
        elif tensor.dtype not in FLOATS:
            wrong.append(
                f"{tensor.key!r} of {tensor.file} has the dtype {tensor.dtype}, and {paths[name]} needs one of {', '.join(FLOATS)}"
            )
    if wrong:
        more = f", and {len(wrong) - MAX_WRONG} more" if len(wrong) > MAX_WRONG else ""
        raise UserError(
            f"tensors do not fit the model '{config.name}': {'; '.join(wrong[:MAX_WRONG])}{more}; give their sizes with {_SIZES}."
        )


def _listed(keys: Sequence[str]) -> str:
    """All the keys in parentheses; many that differ in one layer's number stand together."""
    kinds = defaultdict(list)
    for key in keys:
        kinds[re.sub(r"\.\d+\.", ".*.", key)].append(key)
    names = [f"{len(same)} times {kind!r}" if len(same) > MAX_OF_A_KIND else ", ".join(map(repr, same)) for kind, same in kinds.items()]
    return f" ({', '.join(names)})" if names else ""
