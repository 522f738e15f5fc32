"""Every video encoded once, before training, for runs whose vision encoder does not train (`data.cache_features`).

    OUTPUT_DIR/features/features.npy    float16[R * data.draws_per_video, N, L, D], rows as `data.pipeline.feature_row` tells
    OUTPUT_DIR/features/manifest.json   whose features these are, and how many rows are written

float16 has more digits than the bfloat16 that full-size runs compute in, and its range is ample for what comes out of a
layer norm; against float32 it rounds by at most 1 part in 2048. Rows are written in order, and the manifest counts them
only when they are on the disk, so a run that was killed goes on where it stopped. What the rows belong to is told by content:
of the videos, of the encoder's parameters, of the preprocessing; files may be moved or copied, and others of the same name are noticed.

Several processes encode together: each decodes its part of every batch, the first writes, and all read the one file, which
therefore has to lie where all of them see it, as checkpoints do.
"""

import contextlib
import datetime
import functools
import hashlib
import itertools
import json
import math
import os
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import rich.progress
from flax.traverse_util import flatten_dict
from jax.sharding import Mesh
from rich.console import Console

from pvchat_jax.config.flags import to_dict
from pvchat_jax.config.schema import TrainConfig
from pvchat_jax.data.pipeline import VideoPass, read_clips
from pvchat_jax.data.records import Record
from pvchat_jax.distributed.membership import broadcast_from_first
from pvchat_jax.errors import UserError
from pvchat_jax.files import write_atomically
from pvchat_jax.sharding import BATCH_AXES, gather_to_host, mesh_context, put_batch
from pvchat_jax.training.partition import Params

VIDEOS_PER_BATCH = 16
BATCHES_READ_AHEAD = 2  # a full-size batch of 16 videos takes 230 MB
MAX_READERS = 16
SEEN_WITHIN_SECONDS = 90.0  # longer than clients of NFS remember what a folder held
SAVE_SECONDS = 5.0  # at most this much is encoded again after a kill
REPORT_SECONDS = 10.0


def feature_file(config: TrainConfig) -> Path:
    """Where the features of a run lie: in its output directory, or where runs share them."""
    return Path(config.data.features_dir or f"{config.output_dir}/features") / "features.npy"


def check_cacheable(config: TrainConfig) -> None:
    """Refuses `data.cache_features` where features would change while training.

    Raises:
      UserError: so it is.
    """
    if not config.data.cache_features:
        return
    training = [group for group in ("vision_upper", "base") if config.optimizer.learning_rates[group] > 0]
    if training:
        names = " and ".join(f"optimizer.{group}" for group in training)
        remedy = " ".join(f"--config.optimizer.{group}=0" for group in training)
        raise UserError(
            f"data.cache_features needs a vision encoder that does not train and {names} would train it; "
            f"set {remedy}, or data.cache_features to False."
        )


def cache_features(config: TrainConfig, model: Any, params: Params, records: Sequence[Record], mesh: Mesh, console: Console) -> None:
    """Completes the run's `feature_file`: reuses what belongs to this run, goes on where it was interrupted, or begins anew.

    Args:
      model: has `apply` with the method `encode_video` of models/pvchat.py.
      params: the full tree, placed on `mesh`, over whose data axes each batch of videos is split.
      records: as the training iterator numbers them (`select_records`).
      console: where it says which of these it does, and how far it is.

    Raises:
      UserError: a video cannot be decoded, the disk has too little space, or a process does not see the file.
    """
    data, path = config.data, feature_file(config)
    num_rows = len(records) * data.draws_per_video
    parts = math.lcm(math.prod(mesh.shape[axis] for axis in BATCH_AXES), jax.process_count())
    batch_size = math.ceil(VIDEOS_PER_BATCH / parts) * parts
    encode = jax.jit(lambda params, video: model.apply({"params": params}, video, method="encode_video").astype(jnp.float16))
    clips = jax.ShapeDtypeStruct((batch_size, data.num_clips, data.num_frames, data.image_size, data.image_size, 3), jnp.float32)
    description = describe_features(config, params, records)
    with mesh_context(mesh):
        shape = (num_rows, *jax.eval_shape(encode, params, clips).shape[1:])
        say = functools.partial(console.print, markup=False, highlight=False, soft_wrap=True)
        store = _Store(path, shape, description, say, data.features_max_gb) if jax.process_index() == 0 else None
        first = broadcast_from_first(store.rows_done if store else 0)
        if first < num_rows:
            with store or contextlib.nullcontext(), _Progress(console, first, num_rows) as progress:
                for start, decoded in _decode_ahead(config, records, range(first, num_rows, batch_size), batch_size):
                    features = gather_to_host(encode(params, put_batch({"video": decoded}, mesh)["video"]))
                    done = min(start + batch_size, num_rows)
                    if store:
                        store.append(features[: done - start])
                    progress.show(done)
    _wait_until_seen(path, description, num_rows)


def _wait_until_seen(path: Path, description: dict[str, Any], num_rows: int) -> None:
    """Returns when this process sees the finished file that the first has written; file systems over a network take a while."""
    broadcast_from_first(0)  # comes when the first process is done
    deadline = time.monotonic() + SEEN_WITHIN_SECONDS
    while _read_manifest(path) != {"rows_done": num_rows, **description}:
        if time.monotonic() > deadline:
            raise UserError(
                f"process {jax.process_index()} does not see the features that process 0 wrote to {path.parent}; "
                "set data.features_dir to a folder that all hosts share, or data.cache_features to False."
            )
        time.sleep(0.5)


def describe_features(config: TrainConfig, params: Params, records: Sequence[Record]) -> dict[str, Any]:
    """All that features depend on, as JSON values; features of another description are of no use.

    The encoder's parameters are told by their values, wherever they came from: weights, an earlier run or a seed.
    """
    data = config.data
    digest = hashlib.sha256()
    for name, leaf in sorted(flatten_dict(params, sep="/").items()):
        if name.split("/")[0] in ("vision_encoder", "vision_norm"):
            for array in jax.tree.leaves(leaf):  # of a kernel in int8 there are two
                digest.update(f"{name} {array.dtype} {array.shape}".encode())
                digest.update(np.ascontiguousarray(gather_to_host(array)).view(np.uint8))
    return {
        "videos": _digest_of_files([record.video for record in records]),
        "draws_per_video": data.draws_per_video,
        "frames_seed": data.seed if data.random_frames else None,
        "num_frames": data.num_frames,
        "image_size": data.image_size,
        "tile_grid": list(data.tile_grid),
        "vision": to_dict(config.model.vision),
        "vision_parameters": digest.hexdigest(),
        "compute_dtype": config.compute_dtype,
    }


def _digest_of_files(paths: Sequence[str]) -> str:
    """One sha256 over the contents of all files in order, wherever they lie and whenever they were written."""

    def digest(path: str) -> bytes:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").digest()

    with ThreadPoolExecutor(MAX_READERS) as pool:
        return hashlib.sha256(b"".join(pool.map(digest, paths))).hexdigest()


class _Store:
    """The two files. As a context it may be appended to; leaving it puts all rows so far on the disk.

    Rows are written as to any file, not through a memory map, which would kill the process where the disk is full.

    Args:
      shape: [rows, N, L, D] of the whole array.
      description: from `describe_features`; files of another description are replaced.
      say: takes a line for the user.
      max_gb: what new files may take, in units of 1e9 bytes.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], description: dict[str, Any], say: Callable[[str], None], max_gb: float) -> None:
        self._path = path
        self._max_bytes = max_gb * 1e9
        self._manifest = _manifest_of(path)
        self._description = description
        found = _read_manifest(path)
        changed = [name for name in description if found.get(name) != description[name]]
        if found and not changed and _is_array(path, shape):
            self.rows_done = min(int(found["rows_done"]), shape[0])
            say(f"features of {self.rows_done} of {shape[0]} draws of frames are in {path.parent}")
        else:
            self.rows_done = 0
            if found:
                say(f"the features in {path.parent} do not fit this run ({', '.join(changed) or path.name}) and are made anew")
            self._create(shape)
        self._saved_at = time.monotonic()
        self._row_bytes = math.prod(shape[1:]) * np.dtype(np.float16).itemsize
        self._header_bytes = path.stat().st_size - shape[0] * self._row_bytes

    def _create(self, shape: tuple[int, ...]) -> None:
        needed = math.prod(shape) * np.dtype(np.float16).itemsize
        need = f"the features of {shape[0]} draws of frames need {needed / 1e9:.3g} GB in {self._path.parent}"
        if needed > self._max_bytes:
            raise UserError(
                f"{need} and data.features_max_gb allows {self._max_bytes / 1e9:g}; raise it, lower data.feature_draws, "
                "or set data.cache_features to False."
            )
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._manifest.unlink(missing_ok=True)  # first, lest it counts rows of the new file that are not written
        self._path.unlink(missing_ok=True)
        free = shutil.disk_usage(self._path.parent).free
        if needed > free:
            raise UserError(
                f"{need}, which has {free / 1e9:.3g} GB left; free some, lower data.feature_draws, or set data.cache_features to False."
            )
        np.lib.format.open_memmap(self._path, mode="w+", dtype=np.float16, shape=shape)  # takes no space yet
        self._save_manifest()

    def _save_manifest(self) -> None:
        content = {"rows_done": self.rows_done, **self._description}
        write_atomically(self._manifest, json.dumps(content) + "\n")
        self._saved_at = time.monotonic()

    def __enter__(self) -> "_Store":
        self._file = self._path.open("r+b")
        self._file.seek(self._header_bytes + self.rows_done * self._row_bytes)
        return self

    def append(self, rows: np.ndarray) -> None:
        """Writes float16[n, N, L, D] after the rows that are there."""
        self._file.write(np.ascontiguousarray(rows))
        self.rows_done += len(rows)
        if time.monotonic() - self._saved_at >= SAVE_SECONDS:
            self._sync()

    def _sync(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._save_manifest()

    def __exit__(self, *_: object) -> None:
        with self._file:
            self._sync()


def _manifest_of(path: Path) -> Path:
    return path.with_name("manifest.json")


def _read_manifest(path: Path) -> dict[str, Any]:
    """What the manifest beside the features says; empty where there is none that can be read."""
    try:
        return json.loads(_manifest_of(path).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}


def _is_array(path: Path, shape: tuple[int, ...]) -> bool:
    try:
        array = np.load(path, mmap_mode="r")
    except (OSError, ValueError):
        return False
    return array.shape == shape and array.dtype == np.float16


def _decode_ahead(
    config: TrainConfig, records: Sequence[Record], starts: Iterable[int], batch_size: int
) -> Iterator[tuple[int, np.ndarray]]:
    """This process's clips of each global batch of `batch_size` rows, with its first row: float32[share, N, T, H, W, 3].

    Threads decode some batches while others are encoded; a batch beyond the last row is filled up with that.
    """
    draws, num_rows = config.data.draws_per_video, len(records) * config.data.draws_per_video
    share = batch_size // jax.process_count()

    def read(row: int) -> np.ndarray:
        video_pass = VideoPass(*divmod(row, draws))
        return read_clips(config.data, records[video_pass.record], video_pass)

    def submit(start: int) -> tuple[int, list[Future[np.ndarray]]]:
        own = start + jax.process_index() * share
        rows = [min(row, num_rows - 1) for row in range(own, own + share)]
        futures = {row: pool.submit(read, row) for row in dict.fromkeys(rows)}
        return start, [futures[row] for row in rows]

    upcoming = iter(starts)
    with ThreadPoolExecutor(min(MAX_READERS, os.cpu_count() or 1)) as pool:
        try:
            waiting = deque(submit(start) for start in itertools.islice(upcoming, BATCHES_READ_AHEAD))
            while waiting:
                waiting.extend(submit(start) for start in itertools.islice(upcoming, 1))
                start, futures = waiting.popleft()
                yield start, np.stack([future.result() for future in futures])
        finally:
            pool.shutdown(cancel_futures=True)


class _Progress:
    """A bar with rate and time left on a terminal; elsewhere a plain line now and then, and one at the end."""

    def __init__(self, console: Console, first: int, total: int) -> None:
        columns = (
            rich.progress.TextColumn("encoding"),
            rich.progress.BarColumn(bar_width=20),
            rich.progress.MofNCompleteColumn(),
            rich.progress.TextColumn("{task.fields[rate]}", markup=False),
            rich.progress.TimeRemainingColumn(),
        )
        self._console = console
        self._first, self._total = first, total
        self._bar = rich.progress.Progress(*columns, console=console, disable=not console.is_terminal, speed_estimate_period=120)
        self._task = self._bar.add_task("", total=total, completed=first, rate="")
        self._began = self._shown_at = time.monotonic()

    def __enter__(self) -> "_Progress":
        self._bar.start()
        return self

    def show(self, done: int) -> None:
        """`done` rows are encoded."""
        now = time.monotonic()
        rate = (done - self._first) / max(now - self._began, 1e-9)
        self._bar.update(self._task, completed=done, rate=f"{rate:.3g} videos/s")
        if not self._console.is_terminal and (now - self._shown_at >= REPORT_SECONDS or done == self._total):
            left = datetime.timedelta(seconds=round((self._total - done) / rate))
            line = f"encoded {done}/{self._total} videos  {rate:.3g} videos/s  {left} left"
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)
            self._shown_at = now

    def __exit__(self, *_: object) -> None:
        self._bar.stop()
