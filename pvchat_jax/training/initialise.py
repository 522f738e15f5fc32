"""Where a run's numbers come from: own checkpoint, earlier stage (or a pack of it), converted weights, or the seed.

Frozen parameters are in no checkpoint. They are found again the same way each time, so every run can be
rebuilt from its `config.json` and what that names.
"""

import dataclasses
import functools
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax.core import meta
from flax.traverse_util import flatten_dict, unflatten_dict

from pvchat_jax.config.pack_manifest import is_pack, read_manifest
from pvchat_jax.config.run_directory import CHECKPOINTS, read_config
from pvchat_jax.config.schema import TrainConfig
from pvchat_jax.data.tokenizer import SubjectTokenizer, load_tokenizer
from pvchat_jax.errors import UserError
from pvchat_jax.models.pvchat import PVChat, build_pvchat, init_boxed
from pvchat_jax.sharding import make_mesh, param_shardings
from pvchat_jax.training.checkpoint import Checkpoints
from pvchat_jax.training.frozen_storage import read_like, store, stored_like
from pvchat_jax.training.packs import check_base, read_pack
from pvchat_jax.training.partition import Params, join_params, split_params, trainable_groups
from pvchat_jax.training.state import TrainState, create_train_state
from pvchat_jax.training.weights import read_weights, weights_directory

# No published checkpoint has these, so they may start from the seed even where they are frozen.
NEW_GROUPS = ("subject_tokens", "name_row", "router", "lora")
MAX_NAMES = 8


class Start(NamedTuple):
    """What the loop starts from.

    Attributes:
      state: at the restored step, or step 0.
      frozen: parameters that do not train, kept in `frozen_dtype`.
      init_from_steps: step of the `init_from` run that this run builds on, of that run's own, and so on; to be kept
        in every checkpoint, since those runs may go on.
      notes: lines for the user on where things came from.
    """

    state: TrainState
    frozen: Params
    init_from_steps: list[int]
    notes: tuple[str, ...]


class LoadedRun(NamedTuple):
    """A trained run for evaluation; `params` is the full tree, or the part asked for, and `step` the checkpoint it came from."""

    config: TrainConfig
    model: PVChat
    params: Params
    tokenizer: SubjectTokenizer
    step: int


class Ancestor(NamedTuple):
    """An earlier run, or a pack of one, and the step of it that is built upon."""

    directory: Path
    config: TrainConfig
    step: int


def initialise(
    config: TrainConfig, model: PVChat, mesh: jax.sharding.Mesh, checkpoints: Checkpoints, iterator: Any, must_match: dict[str, Any]
) -> Start:
    """State and frozen parameters of a run, by this priority:

    1. the newest good checkpoint in the run's own output directory (trainable part and optimizer);
    2. the trainable parameters of the run in `init_from`, or what the pack there holds;
    3. converted weights in `weights` (of this run, or of the earlier stage);
    4. the seed.

    What 1 does not hold (the frozen part) comes from 2, what that does not hold from 3, and so on.

    Args:
      iterator: grain iterator, moved to the checkpoint's position.
      must_match: see `Checkpoints.restore`.

    Raises:
      UserError: a source has other sizes than this configuration or lacks parameters.
    """
    trainable_like, frozen_like = abstract_params(config, model, mesh)
    like = join_params(trainable_like, frozen_like)
    if checkpoints.steps():
        restored = checkpoints.restore(state_like(trainable_like, config, mesh), iterator, must_match)
        steps = restored.meta["init_from_steps"]
        frozen, _ = starting_params(config, model, like, frozen_like, ancestors(config, steps))
        return Start(restored.state, frozen, steps, (f"continuing from step {restored.step} in {checkpoints.directory}",))
    earlier = ancestors(config, None)
    params, notes = starting_params(config, model, like, like, earlier)
    trainable, frozen = split_params(params, trainable_groups(config.optimizer))
    return Start(create_train_state(trainable, config, mesh), frozen, [run.step for run in earlier], notes)


def state_like(trainable_like: Params, config: TrainConfig, mesh: jax.sharding.Mesh) -> TrainState:
    """Shapes and shardings of a whole TrainState; what it makes to find them out is freed again."""
    shardings = jax.tree.map(lambda leaf: leaf.sharding, trainable_like)
    zeros = jax.jit(lambda: jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), trainable_like), out_shardings=shardings)
    state = create_train_state(zeros(), config, mesh)
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding), state)


def load_run(
    run_dir: str | Path,
    mesh: jax.sharding.Mesh | None = None,
    *,
    step: int | None = None,
    wanted: Callable[[str], bool] = lambda path: True,
    as_floats: bool = False,
) -> LoadedRun:
    """A checkpoint of a run, or a pack on its base, as a model that is ready to answer.

    Args:
      run_dir: output directory of a training run, or a pack.
      mesh: where parameters go; None takes the run's own mesh.
      step: of the checkpoint; None takes the newest.
      wanted: whether the parameter of a `/`-joined path is wanted; the others are not read.
      as_floats: gives what the run keeps in int8 as it was before, in bfloat16.

    Raises:
      UserError: there is no run, no checkpoint yet, or something it builds on is missing.
    """
    config = read_config(run_dir)
    if as_floats and config.frozen_dtype == "int8":
        config = dataclasses.replace(config, frozen_dtype="bfloat16")
    mesh = make_mesh(config.mesh) if mesh is None else mesh
    model = build_pvchat(config.model, dtype=jnp.dtype(config.compute_dtype))
    tokenizer = load_tokenizer(config.data.tokenizer, [config.data.subject])
    trainable_like, frozen_like = abstract_params(config, model, mesh)
    like = join_params(trainable_like, frozen_like)
    step, earlier_steps = find_step(Path(run_dir), step)
    if is_pack(run_dir):
        params, _ = starting_params(config, model, like, _only(like, wanted), [Ancestor(Path(run_dir), config, step)])
    else:
        run = Ancestor(Path(run_dir), config, step)
        trained = _only(trainable_like, wanted)
        trained = _trained_by(run, trained) if trained else {}
        frozen, _ = starting_params(config, model, like, _only(frozen_like, wanted), ancestors(config, earlier_steps))
        params = join_params(trained, frozen)
    return LoadedRun(config, model, params, tokenizer, step)


def _only(params: Params, wanted: Callable[[str], bool]) -> Params:
    return unflatten_dict({path: leaf for path, leaf in flatten_dict(params, sep="/").items() if wanted(path)}, sep="/")


def abstract_params(config: TrainConfig, model: PVChat, mesh: jax.sharding.Mesh) -> tuple[Params, Params]:
    """Shapes, dtypes and shardings of the (trainable, frozen) parameters, without any memory."""
    boxed = jax.eval_shape(functools.partial(init_boxed, model, config.model), jax.random.key(0))

    def place(leaf: jax.ShapeDtypeStruct, sharding: jax.sharding.Sharding) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(leaf.shape, jnp.float32, sharding=sharding)

    params = jax.tree.map(place, meta.unbox(boxed), param_shardings(boxed, mesh))
    trainable, frozen = split_params(params, trainable_groups(config.optimizer))
    return trainable, stored_like(frozen, config.frozen_dtype)


def ancestors(config: TrainConfig, steps: Sequence[int] | None) -> list[Ancestor]:
    """The chain of `init_from` runs, nearest first.

    Args:
      steps: of each of them; None takes the newest of the nearest, and what that one was built on.
    """
    chain: list[Ancestor] = []
    while config.init_from:
        directory = Path(config.init_from)
        if steps is None:
            step, steps = find_step(directory)
        else:
            step, *steps = steps
        chain.append(Ancestor(directory, read_config(directory), step))
        config = chain[-1].config
    return chain


def saved_steps(run_dir: Path) -> list[int]:
    """Steps of a run's checkpoints, oldest first, or the one of a pack.

    Raises:
      UserError: there is none.
    """
    if is_pack(run_dir):
        return [read_manifest(run_dir).step]
    steps = Checkpoints(run_dir / CHECKPOINTS, read_only=True).steps()
    if not steps:
        raise UserError(f"{run_dir} has no checkpoint yet; let that run save one first.")
    return steps


def find_step(run_dir: Path, step: int | None = None) -> tuple[int, list[int]]:
    """The `step` of a run's checkpoint or of a pack, by default the newest, and the steps of the earlier runs that it is built on.

    Raises:
      UserError: there is no such checkpoint.
    """
    steps = saved_steps(run_dir)
    step = steps[-1] if step is None else step
    if step not in steps:
        raise UserError(f"{run_dir} has no checkpoint of step {step}, only of {', '.join(map(str, steps))}; choose one of these.")
    if is_pack(run_dir):
        return step, []
    return step, Checkpoints(run_dir / CHECKPOINTS, read_only=True).meta(step)["init_from_steps"]


def starting_params(
    config: TrainConfig, model: PVChat, like: Params, needed: Params, earlier: Sequence[Ancestor]
) -> tuple[Params, tuple[str, ...]]:
    """The `needed` parameters from the `earlier` runs, the converted weights and the seed, in this order.

    Args:
      like: every parameter of the model, abstract, with dtype and sharding.
      needed: those that are wanted; a part of `like`.
      earlier: from `ancestors`.

    Returns:
      The parameters, placed and typed as in `like`, and lines on where they came from.
    """
    missing, names = flatten_dict(like, sep="/"), flatten_dict(needed, sep="/").keys()
    found: dict[str, jax.Array] = {}
    notes = []
    weights = base_weights(config, earlier)
    for run in earlier:
        read, missing = learned_by(run, weights, missing, names)
        found |= read
        if read:
            notes.append(f"{len(read)} tensors from step {run.step} of {run.directory}")
    if weights:
        read, missing = read_weights(weights_directory(weights), missing, names)
        found |= read
        notes.append(f"{len(read)} tensors from {weights}")
        _refuse_missing(weights, missing, trainable_groups(config.optimizer))
    if missing.keys() & names:
        # All that is missing, needed or not: a resumed run needs less than its first start did, but must run the same
        # program to get the same bits.
        seed = [config, *(run.config for run in earlier)][-1].seed
        drawn = random_params(model, config, seed, missing)
        found |= {name: leaf for name, leaf in drawn.items() if name in names}
        which = "all parameters" if len(drawn) == len(found) else _some(list(drawn))
        notes.append(f"{which} drawn from seed {seed}")
    return unflatten_dict(found, sep="/"), tuple(notes)


def base_weights(config: TrainConfig, earlier: Sequence[Ancestor]) -> str:
    """The `weights` of a run: its own setting, or that of the nearest earlier run that has one; empty if none has."""
    return next((run.weights for run in (config, *(run.config for run in earlier)) if run.weights), "")


def learned_by(run: Ancestor, weights: str, missing: dict[str, Any], names: Collection[str]) -> tuple[dict[str, jax.Array], dict[str, Any]]:
    """Those of `names` that a run trained or a pack holds, and the part of `missing` that it has not."""
    if is_pack(run.directory):
        check_base(run.directory, weights)
        return read_pack(run.directory, run.step, missing, names)
    trained = flatten_dict(split_params(unflatten_dict(missing, sep="/"), trainable_groups(run.config.optimizer))[0], sep="/")
    wanted = {name: leaf for name, leaf in trained.items() if name in names}
    read = flatten_dict(_trained_by(run, unflatten_dict(wanted, sep="/")), sep="/") if wanted else {}
    return read, {name: leaf for name, leaf in missing.items() if name not in trained}


def _trained_by(run: Ancestor, wanted: Params) -> Params:
    checkpoints = Checkpoints(run.directory / CHECKPOINTS, read_only=True)
    if run.step not in checkpoints.steps():
        raise UserError(
            f"{checkpoints.directory} no longer has step {run.step}, which this run builds on; "
            "start a new run from what is there with another --config.output_dir."
        )
    restored = checkpoints.restore_trainable(run.step, read_like(wanted))
    return jax.tree.map(store, restored, wanted)


def random_params(model: PVChat, config: TrainConfig, seed: int, wanted: dict[str, Any]) -> dict[str, Any]:
    """The `wanted` parameters as the seed gives them, created in their shards and as they are stored; the others never exist."""

    def draw(key: jax.Array) -> dict[str, Any]:
        params = flatten_dict(meta.unbox(init_boxed(model, config.model, key)), sep="/")
        return {name: store(params[name], leaf) for name, leaf in wanted.items()}

    return jax.jit(draw, out_shardings=jax.tree.map(lambda leaf: leaf.sharding, wanted))(jax.random.key(seed))


def _refuse_missing(weights: str, missing: dict[str, Any], trainable: Sequence[str]) -> None:
    """Parameters that nothing trains and no source has would silently stay random."""
    _, refused = split_params(unflatten_dict(missing, sep="/"), {*trainable, *NEW_GROUPS}, with_instruction=True)
    if refused:
        names = list(flatten_dict(refused, sep="/"))
        raise UserError(f"{weights} lacks {_some(names)}, which this run keeps frozen; convert the weights again from complete files.")


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return ", ".join(names[:MAX_NAMES]) + more
