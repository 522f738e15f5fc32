"""Every video encoded once, for runs whose vision encoder, or its lower half, does not train (`data.cache_features`).

What is encoded stays in `data.features_dir` (training/feature_store.py) under a name that is told by content: of the video, of the
encoder's frozen parameters, of the preprocessing. So a run encodes what is not there yet: of a set with a video more, that video;
after a kill, what was left; the second of two runs on the same videos, nothing. Files may be moved or copied, and others of the
same name are noticed.

Several processes encode together: each decodes its part of every batch, the first writes, and all read the one folder, which
therefore has to lie where all of them see it, as checkpoints do.
"""

import contextlib
import datetime
import functools
import hashlib
import itertools
import math
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from pvchat_jax.data.pipeline import read_clips
from pvchat_jax.data.records import Record
from pvchat_jax.data.stored_features import StoredFeatures, file_size, write_features
from pvchat_jax.distributed.membership import broadcast_from_first
from pvchat_jax.errors import UserError
from pvchat_jax.sharding import BATCH_AXES, gather_to_host, mesh_context, put_batch
from pvchat_jax.training.feature_store import SUFFIX, FeatureStore
from pvchat_jax.training.partition import Params, group_of

FORMAT = 1  # to be raised when decoding, preprocessing or the encoder come to compute something else
VIDEOS_PER_BATCH = 16
BATCHES_READ_AHEAD = 2  # a full-size batch of 16 videos takes 230 MB
MAX_READERS = 16
SEEN_WITHIN_SECONDS = 90.0  # longer than clients of NFS remember what a folder held
REPORT_SECONDS = 10.0
_ENCODERS = {"features": "encode_video", "lower_features": "encode_lower"}  # methods of models/pvchat.py
_DIGITS = 32


def check_cacheable(config: TrainConfig) -> None:
    """Refuses `data.cache_features` where features would change while training.

    Raises:
      UserError: so it is.
    """
    if config.data.cache_features and config.optimizer.base > 0:
        raise UserError(
            "data.cache_features needs a lower half of the vision encoder that does not train and optimizer.base would train it; "
            "set --config.optimizer.base=0, or data.cache_features to False."
        )


@contextlib.contextmanager
def stored_features(
    config: TrainConfig, model: Any, params: Params, records: Sequence[Record], mesh: Mesh, console: Console
) -> Iterator[StoredFeatures | None]:
    """Encodes what is not stored yet and gives all of the run's features, which no other run removes until the context ends.

    Args:
      config: of a run that `check_cacheable` lets pass; without `data.cache_features` the result is None.
      model: has `apply` with the methods `encode_video` and `encode_lower` of models/pvchat.py.
      params: the full tree, placed on `mesh`, over whose data axes each batch of videos is split.
      records: as the training iterator numbers them (`select_records`).
      console: where it says how much is there and how far it is.

    Raises:
      UserError: a video cannot be decoded, there is too little space, or a process does not see the files.
    """
    if not config.stored_features:
        yield None
        return
    data, is_first = config.data, jax.process_index() == 0
    encode, shape, dtype = _encoder(config, model, params)
    files = feature_files(config, records)
    row_of = dict(zip(files, itertools.count()))  # videos of the same content share their features
    names = list(row_of)
    store = FeatureStore(features_folder(config), describe_features(config, params), file_size(shape, dtype))
    say = functools.partial(console.print, markup=False, highlight=False, soft_wrap=True)
    if is_first:
        store.make_room(names, data.features_max_gb, say)
    broadcast_from_first(np.zeros(()))  # before the others lock what the first may remove
    with store.in_use():
        missing = _missing_on_first(store, names)
        say(f"features of {len(names) - len(missing)} of {len(names)} draws of frames are in {store.root}")
        if missing:
            with _Progress(console, len(names) - len(missing), len(names)) as progress:
                for done, name, features in _encode(config, encode, records, {name: row_of[name] for name in missing}, mesh):
                    if is_first:
                        write_features(store.folder / name, features)
                    progress.show(len(names) - len(missing) + done)
        _wait_until_seen(store, names)
        if is_first:
            store.mark_used(names)
        yield StoredFeatures(config.stored_features, store.folder, tuple(files), shape, dtype)


def features_folder(config: TrainConfig) -> Path:
    """Where the features of a run lie: in its output directory, or where runs share them."""
    return Path(config.data.features_dir or f"{config.output_dir}/features")


def feature_files(config: TrainConfig, records: Sequence[Record]) -> list[str]:
    """Name of the file of every row (`data.pipeline.feature_row`): digest of the video's content, and which draw of frames it is."""
    data = config.data
    draws = [f"{data.seed}-{number}" for number in range(data.feature_draws)] if data.random_frames else ["fixed"]

    def digest(record: Record) -> str:
        with open(record.video, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:_DIGITS]

    with ThreadPoolExecutor(MAX_READERS) as pool:
        return [f"{video}-{draw}{SUFFIX}" for video in pool.map(digest, records) for draw in draws]


def describe_features(config: TrainConfig, params: Params) -> dict[str, Any]:
    """All that features depend on besides their video and draw of frames, as JSON values.

    The encoder's parameters are told by their values, wherever they came from: weights, an earlier run or a seed. Those that train
    are not among them.
    """
    data = config.data
    digest = hashlib.sha256()
    for name, leaf in sorted(flatten_dict(params, sep="/").items()):
        if _encodes(name, config.stored_features):
            for array in jax.tree.leaves(leaf):  # of a kernel in int8 there are two
                digest.update(f"{name} {array.dtype} {array.shape}".encode())
                digest.update(np.ascontiguousarray(gather_to_host(array)).view(np.uint8))
    return {
        "format": FORMAT,
        "stored": config.stored_features,
        "stored_dtype": config.stored_dtype,
        "num_frames": data.num_frames,
        "image_size": data.image_size,
        "tile_grid": list(data.tile_grid),
        "vision": to_dict(config.model.vision),
        "vision_parameters": digest.hexdigest(),
        "compute_dtype": config.compute_dtype,
    }


def _encodes(path: str, stored: str) -> bool:
    """Whether the parameter at `path` takes part in what is `stored`."""
    in_encoder = path.startswith("vision_encoder/")
    return in_encoder and group_of(path) != "vision_upper" if stored == "lower_features" else in_encoder or path.startswith("vision_norm/")


def _encoder(config: TrainConfig, model: Any, params: Params) -> tuple[Callable[[jax.Array], jax.Array], tuple[int, ...], np.dtype]:
    """The function float[B, N, T, H, W, 3] -> [B, N, L, D] whose results are stored, and shape and dtype of a video's."""
    data, dtype, method = config.data, jnp.dtype(config.stored_dtype), _ENCODERS[config.stored_features]
    encode = jax.jit(lambda params, video: model.apply({"params": params}, video, method=method).astype(dtype))
    clips = jax.ShapeDtypeStruct((1, data.num_clips, data.num_frames, data.image_size, data.image_size, 3), jnp.float32)
    return functools.partial(encode, params), jax.eval_shape(encode, params, clips).shape[1:], dtype


def _missing_on_first(store: FeatureStore, names: Sequence[str]) -> list[str]:
    """What process 0 lacks of `names`, on all processes; they may not see the same yet."""
    lacking = set(store.missing(names)) if jax.process_index() == 0 else set()
    return list(itertools.compress(names, broadcast_from_first(np.array([name in lacking for name in names], np.uint8))))


def _wait_until_seen(store: FeatureStore, names: Sequence[str]) -> None:
    """Returns when this process sees the files that the first has written; file systems over a network take a while."""
    broadcast_from_first(np.zeros(()))  # comes when the first process is done
    deadline = time.monotonic() + SEEN_WITHIN_SECONDS
    while names := store.missing(names):
        if time.monotonic() > deadline:
            raise UserError(
                f"process {jax.process_index()} does not see {len(names)} files of features that process 0 wrote to {store.folder}; "
                "set data.features_dir to a folder that all hosts share, or data.cache_features to False."
            )
        time.sleep(0.5)


def _encode(
    config: TrainConfig, encode: Callable[[jax.Array], jax.Array], records: Sequence[Record], rows: Mapping[str, int], mesh: Mesh
) -> Iterator[tuple[int, str, np.ndarray]]:
    """For each of `rows` in turn, on all processes: which it is, counted from 1, its name, and its features [N, L, D]."""
    parts = math.lcm(math.prod(mesh.shape[axis] for axis in BATCH_AXES), jax.process_count())
    batch_size = math.ceil(VIDEOS_PER_BATCH / parts) * parts
    counted = enumerate(rows, start=1)
    for decoded in _decode_ahead(config, records, list(rows.values()), batch_size):
        with mesh_context(mesh):
            features = gather_to_host(encode(put_batch({"video": decoded}, mesh)["video"]))
        for (done, name), row in zip(itertools.islice(counted, batch_size), features, strict=False):  # the last batch is filled up
            yield done, name, row


def _decode_ahead(config: TrainConfig, records: Sequence[Record], rows: Sequence[int], batch_size: int) -> Iterator[np.ndarray]:
    """This process's clips of each global batch of `batch_size` of the rows: float32[share, N, T, H, W, 3].

    Threads decode some batches while others are encoded; the last batch is filled up with the last row.
    """
    share = batch_size // jax.process_count()

    def read(row: int) -> np.ndarray:
        record, number = divmod(row, config.data.draws_per_video)
        return read_clips(config.data, records[record].video, number)

    def submit(start: int) -> list[Future[np.ndarray]]:
        own = start + jax.process_index() * share
        wanted = [rows[min(position, len(rows) - 1)] for position in range(own, own + share)]
        futures = {row: pool.submit(read, row) for row in dict.fromkeys(wanted)}
        return [futures[row] for row in wanted]

    upcoming = iter(range(0, len(rows), batch_size))
    with ThreadPoolExecutor(min(MAX_READERS, os.cpu_count() or 1)) as pool:
        try:
            waiting = deque(submit(start) for start in itertools.islice(upcoming, BATCHES_READ_AHEAD))
            while waiting:
                waiting.extend(submit(start) for start in itertools.islice(upcoming, 1))
                yield np.stack([future.result() for future in waiting.popleft()])
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
