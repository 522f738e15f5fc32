"""Every video encoded once, before training, for runs whose vision encoder does not train (`data.cache_features`).

    OUTPUT_DIR/features/features.npy    float16[R * data.draws_per_video, N, L, D], rows as `data.pipeline.feature_row` tells
    OUTPUT_DIR/features/manifest.json   whose features these are, and how many rows are written

float16 has more digits than the bfloat16 that full-size runs compute in, and its range is ample for what comes out of a
layer norm; against float32 it rounds by at most 1 part in 2048. Rows are written in order, and the manifest counts them
only when they are on the disk, so a run that was killed goes on where it stopped. What the rows belong to is told by content:
of the videos, of the encoder's parameters, of the preprocessing; files may be moved or copied, and others of the same name are noticed.
"""

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
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
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
from pvchat_jax.errors import UserError
from pvchat_jax.files import write_atomically
from pvchat_jax.sharding import BATCH_AXES, mesh_context, put_batch
from pvchat_jax.training.partition import Params

VIDEOS_PER_BATCH = 16
BATCHES_READ_AHEAD = 2  # a full-size batch of 16 videos takes 230 MB
MAX_READERS = 16
SAVE_SECONDS = 5.0  # at most this much is encoded again after a kill
REPORT_SECONDS = 10.0


def feature_file(config: TrainConfig) -> Path:
    """Where the features of a run lie: in its output directory, or where runs share them."""
    return Path(config.data.features_dir or f"{config.output_dir}/features") / "features.npy"


def check_cacheable(config: TrainConfig) -> None:
    """Refuses `data.cache_features` where features would change while training, or where several hosts would share a file.

    Raises:
      UserError: one of these holds.
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
    if jax.process_count() > 1:
        raise UserError(f"data.cache_features works on one host and this run has {jax.process_count()}; set data.cache_features to False.")


def cache_features(config: TrainConfig, model: Any, params: Params, records: Sequence[Record], mesh: Mesh, console: Console) -> None:
    """Completes the run's `feature_file`: reuses what belongs to this run, goes on where it was interrupted, or begins anew.

    Args:
      model: has `apply` with the method `encode_video` of models/pvchat.py.
      params: the full tree, placed on `mesh`, over whose data axes each batch of videos is split.
      records: as the training iterator numbers them (`select_records`).
      console: where it says which of these it does, and how far it is.

    Raises:
      UserError: a video cannot be decoded, or the disk has too little space.
    """
    parts = math.prod(mesh.shape[axis] for axis in BATCH_AXES)
    batch_size = math.ceil(VIDEOS_PER_BATCH / parts) * parts
    encode = jax.jit(lambda params, video: model.apply({"params": params}, video, method="encode_video").astype(jnp.float16))
    data = config.data
    clips = jax.ShapeDtypeStruct((batch_size, data.num_clips, data.num_frames, data.image_size, data.image_size, 3), jnp.float32)
    num_rows = len(records) * data.draws_per_video
    with mesh_context(mesh):
        shape = jax.eval_shape(encode, params, clips).shape[1:]
        say = functools.partial(console.print, markup=False, highlight=False, soft_wrap=True)
        store = _Store(feature_file(config), (num_rows, *shape), describe_features(config, params, records), say, data.features_max_gb)
        if store.rows_done == num_rows:
            return
        with store, _Progress(console, store.rows_done, num_rows) as progress:
            for decoded in _decode_ahead(config, records, range(store.rows_done, num_rows), batch_size):
                padded = np.concatenate([decoded, np.repeat(decoded[-1:], batch_size - len(decoded), axis=0)])
                features = encode(params, put_batch({"video": padded}, mesh)["video"])
                store.append(np.asarray(features)[: len(decoded)])
                progress.show(store.rows_done)


def describe_features(config: TrainConfig, params: Params, records: Sequence[Record]) -> dict[str, Any]:
    """All that features depend on, as JSON values; features of another description are of no use.

    The encoder's parameters are told by their values, wherever they came from: weights, an earlier run or a seed.
    """
    data = config.data
    digest = hashlib.sha256()
    for name, leaf in sorted(flatten_dict(params, sep="/").items()):
        if name.split("/")[0] in ("vision_encoder", "vision_norm"):
            digest.update(f"{name} {leaf.dtype} {leaf.shape}".encode())
            digest.update(np.ascontiguousarray(leaf).view(np.uint8))
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
        self._manifest = path.with_name("manifest.json")
        self._description = description
        found = self._read_manifest()
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

    def _read_manifest(self) -> dict[str, Any]:
        try:
            return json.loads(self._manifest.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return {}

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


def _is_array(path: Path, shape: tuple[int, ...]) -> bool:
    try:
        array = np.load(path, mmap_mode="r")
    except (OSError, ValueError):
        return False
    return array.shape == shape and array.dtype == np.float16


def _decode_ahead(config: TrainConfig, records: Sequence[Record], rows: Sequence[int], batch_size: int) -> Iterator[np.ndarray]:
    """Clips of `rows` in batches, float32[<= batch_size, N, T, H, W, 3], decoded by threads while others are encoded."""
    draws = config.data.draws_per_video

    def read(row: int) -> np.ndarray:
        video_pass = VideoPass(*divmod(row, draws))
        return read_clips(config.data, records[video_pass.record], video_pass)

    upcoming = iter(rows)
    with ThreadPoolExecutor(min(MAX_READERS, os.cpu_count() or 1)) as pool:
        try:
            waiting = deque(pool.submit(read, row) for row in itertools.islice(upcoming, BATCHES_READ_AHEAD * batch_size))
            while waiting:
                batch = []
                while waiting and len(batch) < batch_size:
                    batch.append(waiting.popleft().result())
                    waiting.extend(pool.submit(read, row) for row in itertools.islice(upcoming, 1))
                yield np.stack(batch)
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
