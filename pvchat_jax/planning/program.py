"""The real training step, compiled for chips that are not there.

The TPU compiler is in the package libtpu and needs no TPU. No parameter and no batch ever exists: the step is lowered from shapes.
"""

import contextlib
import os
import resource
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import topologies
from jax.sharding import Mesh

from pvchat_jax.config.schema import TrainConfig
from pvchat_jax.errors import UserError
from pvchat_jax.models.pvchat import build_pvchat
from pvchat_jax.planning.topologies import Topology
from pvchat_jax.sharding import batch_sharding, check_batch_size, mesh_context, replicated
from pvchat_jax.training.initialise import abstract_params
from pvchat_jax.training.state import abstract_train_state
from pvchat_jax.training.step import dropout_stream, jit_train_step

ANSWER_POSITIONS = 64  # answers of the datasets at hand end before; a batch has the longest answer's number, in eights

# What the compiler asks its surroundings for, which here is not a machine with a TPU.
_ENVIRONMENT = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_ACCELERATOR_TYPE": "v5litepod-16",  # any valid one; it need not be the topology
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",  # several plans may be made at once
    "TPU_LOG_DIR": "disabled",
}


class Compiled(NamedTuple):
    """A program and what it took to compile.

    Attributes:
      executable: result of `lower(...).compile()`.
      seconds: lowering and compiling, wall time.
      process_bytes: the most memory that this process has had so far.
    """

    executable: Any
    seconds: float
    process_bytes: int


class DoesNotFit(Exception):
    """The program needs more memory than a chip has; the message is the compiler's."""


def topology_devices(topology: Topology) -> list[jax.Device]:
    """Devices of a slice, to compile for and not to run on.

    Raises:
      UserError: libtpu is missing, or knows no such slice.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        described = topologies.get_topology_desc(topology.name, platform="tpu", **dict(topology.chip.compiler_options))
    except (RuntimeError, ValueError) as error:
        if "TPU support not installed" in str(error):
            raise UserError("the TPU compiler is not installed; install it with pip install 'pvchat_jax[plan]'.") from error
        raise UserError(f"the TPU compiler refuses the topology {topology.name} ({_first_line(error)}); choose another grid.") from error
    return described.devices


def compile_step(config: TrainConfig, mesh: Mesh) -> Compiled:
    """`training/step.py` compiled for `mesh`, whose devices may be of `topology_devices`.

    Raises:
      DoesNotFit: it needs more memory than a device has.
      UserError: the batch does not divide over the mesh.
    """
    began = time.monotonic()
    lowered = lower_step(config, mesh)
    with _memory_error():
        executable = lowered.compile()
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return Compiled(executable, time.monotonic() - began, kilobytes * 1024)


def lower_step(config: TrainConfig, mesh: Mesh) -> Any:
    """The step as jax hands it to the compiler, a `jax.stages.Lowered`.

    Raises:
      UserError: the batch does not divide over the mesh.
    """
    check_batch_size(config.data.batch_size, mesh, config.optimizer.gradient_accumulation)
    prefix_length = row_lengths(config)[1]
    model = build_pvchat(config.model, dtype=jnp.dtype(config.compute_dtype), prefix_length=prefix_length)
    trainable, frozen = abstract_params(config, model, mesh)
    state = abstract_train_state(trainable, config, mesh)
    stream = jax.eval_shape(dropout_stream, 0)
    stream = jax.ShapeDtypeStruct(stream.shape, stream.dtype, sharding=replicated(mesh))
    with mesh_context(mesh):
        return jit_train_step(model, config, mesh, state).lower(state, frozen, abstract_batch(config, mesh), stream)


def row_lengths(config: TrainConfig) -> tuple[int, int, int]:
    """(tokens of a row, those that all rows of a video have in common, positions that learn) for records that are not known.

    Rows fit the first bucket. In common are the visual tokens; what the prompt says before them is counted as the rows' own.
    """
    length = config.data.text_buckets[0]
    prefix_length = config.data.num_clips * config.model.qformer.num_visual_tokens
    return length, prefix_length, min(ANSWER_POSITIONS, length - prefix_length)


def abstract_batch(config: TrainConfig, mesh: Mesh) -> dict[str, jax.ShapeDtypeStruct]:
    """A batch as `data.pipeline.make_train_iterator` describes it: rows as long as the first of `data.text_buckets`."""
    data, vision = config.data, config.model.vision
    videos, rows = data.batch_size, data.questions_per_video
    length, _, answer_positions = row_lengths(config)
    sharding = batch_sharding(mesh)

    def array(shape: tuple[int, ...], dtype: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((videos, *shape), dtype, sharding=sharding)

    if config.stored_features:
        tokens = 1 + data.num_frames // vision.tubelet_size * vision.grid_size**2
        visual = {config.stored_features: array((data.num_clips, tokens, vision.width), jnp.dtype(config.stored_dtype))}
    else:
        visual = {"video": array((data.num_clips, data.num_frames, data.image_size, data.image_size, 3), np.float32)}
    return {
        **visual,
        "input_ids": array((rows, length), np.int32),
        "attention_mask": array((rows, length), np.bool_),
        "labels": array((rows, length), np.int32),
        "video_mask": array((rows, length), np.bool_),
        "answer_positions": array((rows, answer_positions), np.int32),
        "present": array((), np.bool_),
    }


@contextlib.contextmanager
def _memory_error() -> Iterator[None]:
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise DoesNotFit(str(error)) from error


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0].rstrip(". ")
