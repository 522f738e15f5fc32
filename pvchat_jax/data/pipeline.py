"""From records to batches: which video comes when, with which of its questions, on which process (Grain).

Everything follows from the seed and the number of videos already used, so the state of the iterator is that
one number: it fits any number of processes, workers, or batch size.

    order of videos (endless, both classes in turn) -> this process's share -> decoded, with its questions -> batch

With `data.cache_features` a video's stored features (`BatchIterator.use_stored`) take the place of decoding it.
"""

import dataclasses
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import grain
import numpy as np
from absl import flags

from pvchat_jax.config.schema import DataConfig, TrainConfig
from pvchat_jax.data.conversation import TextRow, answer_positions, build_training_row, common_prefix_length, num_learnt, pad_row
from pvchat_jax.data.preprocess import preprocess_frames
from pvchat_jax.data.records import Question, Record
from pvchat_jax.data.stored_features import StoredFeatures
from pvchat_jax.data.tokenizer import SubjectTokenizer
from pvchat_jax.data.video import beginning_checksum, inspect_video, read_frames
from pvchat_jax.errors import UserError

PROBE_THREADS = 16
BATCHES_READ_AHEAD = 2  # without workers; a full-size batch of 16 videos takes 230 MB

_ANSWER_MULTIPLE = 8  # of A, so that datasets whose longest answers differ a little share a compiled program
_FRAMES_STREAM = 1  # keeps the draw of frames apart from the draw of questions

Batch = dict[str, np.ndarray]


class VideoPass(NamedTuple):
    """The `number`-th time, from 0, that the video at index `record` comes up."""

    record: int
    number: int


class DatasetRows(NamedTuple):
    """The text rows of a dataset.

    Attributes:
      rows: of every distinct question, unpadded: 10 bytes a position.
      length: positions that each is padded to.
      prefix_length: how many of these, from the first on, are the same in all rows.
    """

    rows: dict[Question, TextRow]
    length: int
    prefix_length: int


class ProbeResult(NamedTuple):
    """Records whose video opens, and (record, reason) for each of the others."""

    good: list[Record]
    bad: list[tuple[Record, str]]


def probe_videos(records: Sequence[Record]) -> ProbeResult:
    """Opens every video, reads its packets and decodes its first frame, so that a bad file shows before training.

    Files that are missing, empty, cut short or no video end up in `bad`; damage that keeps the packets whole
    shows only when `read_frames` meets it.
    """
    paths = list(dict.fromkeys(record.video for record in records))
    with ThreadPoolExecutor(PROBE_THREADS) as pool:
        reasons = dict(zip(paths, pool.map(_reason_against, paths), strict=True))
    good = [record for record in records if reasons[record.video] is None]
    bad = [(record, reason) for record in records if (reason := reasons[record.video]) is not None]
    return ProbeResult(good, bad)


def _reason_against(path: str) -> str | None:
    try:
        inspect_video(path)
    except UserError as error:
        return str(error)
    return None


def select_records(data: DataConfig, records: Iterable[Record]) -> list[Record]:
    """Keeps the questions of `data.question_types`, and the videos that still have one.

    Raises:
      UserError: nothing is left, or `data.balance_presence` lacks videos with or without the subject.
    """
    kept = []
    for record in records:
        questions = tuple(question for question in record.questions if question.type in data.question_types)
        if questions:
            kept.append(dataclasses.replace(record, questions=questions))
    if not kept:
        raise UserError(f"{data.train} has no question of data.question_types {list(data.question_types)}; ask for other types.")
    if data.balance_presence:
        for present, words in ((True, "shows"), (False, "is without")):
            if all(record.present != present for record in kept):
                raise UserError(
                    f"{data.train} has no usable video that {words} {data.subject}; add some, or set data.balance_presence to False."
                )
    return kept


def training_rows(config: TrainConfig, questions: Iterable[Question], tokenizer: SubjectTokenizer) -> dict[Question, TextRow]:
    """The unpadded row of every distinct question, tokenised once, so that workers need no tokenizer: 10 bytes a position."""
    return {
        question: build_training_row(
            tokenizer,
            question=question.question,
            answer=question.answer,
            subject=config.data.subject,
            num_clips=config.data.num_clips,
            tokens_per_clip=config.model.qformer.num_visual_tokens,
            style=config.data.prompt_style,
        )
        for question in dict.fromkeys(questions)
    }


def dataset_rows(config: TrainConfig, records: Iterable[Record], tokenizer: SubjectTokenizer) -> DatasetRows:
    """All rows, and the smallest of `data.text_buckets` that fits every one of them.

    Args:
      records: as `select_records` leaves them.

    Raises:
      UserError: a row fits none of the buckets, or cannot be written.
    """
    rows = training_rows(config, (question for record in records for question in record.questions), tokenizer)
    return DatasetRows(rows, _fitting_bucket(config.data, records, rows), common_prefix_length(rows.values()))


def _fitting_bucket(data: DataConfig, records: Iterable[Record], rows: dict[Question, TextRow]) -> int:
    longest = max(rows, key=lambda question: len(rows[question].input_ids))
    length = len(rows[longest].input_ids)
    for bucket in data.text_buckets:
        if length <= bucket:
            return bucket
    video = next(record.video for record in records if longest in record.questions)
    raise UserError(
        f"{data.train}: the question {longest.question[:200]!r} of video {video} takes {length} tokens with its answer "
        f"and the video, more than data.text_buckets {data.text_buckets} allow; shorten the text or add a larger bucket."
    )


def make_train_iterator(
    config: TrainConfig,
    records: Sequence[Record],
    text: DatasetRows,
    *,
    process_index: int,
    process_count: int,
) -> "BatchIterator":
    """Endless training batches of this process.

    Args:
      config: `data` says what to read.
      records: as `select_records` leaves them, with absolute video paths, the same on all processes; see `probe_videos` for
        unreadable ones.
      text: the rows of their questions.
      process_index: 0 <= process_index < process_count.

    Returns:
      An iterator of {video float32[B, N, T, H, W, 3], input_ids int32[B, K, S], attention_mask bool[B, K, S],
      labels int32[B, K, S], video_mask bool[B, K, S], answer_positions int32[B, K, A], present bool[B]} where
      B = data.batch_size / process_count; see `BatchIterator.use_stored` for what may take the place of `video`.
      Joined in the order of the processes, the batches of one step are the same for any number of processes.

    Raises:
      UserError: when the batch does not divide; later, from `next`, when a video cannot be decoded.
    """
    if config.data.batch_size % process_count:
        raise UserError(f"data.batch_size {config.data.batch_size} is not divisible by the {process_count} processes; choose a multiple.")
    padded_rows = {question: pad_row(row, text.length) for question, row in text.rows.items()}
    order = _video_order(config.data, [record.present for record in records])
    num_positions = min(_ANSWER_MULTIPLE * -(-num_learnt(text.rows.values()) // _ANSWER_MULTIPLE), text.length)
    load = _LoadVideo(config.data, tuple(records), padded_rows, num_positions)
    return BatchIterator(order, load, config.data, process_index, process_count)


def _video_order(data: DataConfig, present: Sequence[bool]) -> grain.MapDataset[VideoPass]:
    """Indices of records without end: shuffled anew in each pass over a class, both classes in turn."""
    mask = np.array(present)
    classes = [mask, ~mask] if data.balance_presence else [mask | True]
    orders = []
    for number, members in enumerate(classes):
        indices = np.flatnonzero(members).tolist()
        # Seeds differ, else classes of equal size would be shuffled alike and the same two videos always meet.
        seed = int(np.random.SeedSequence((data.seed, number)).generate_state(1)[0])
        shuffled = grain.MapDataset.source(indices).shuffle(seed=seed).repeat()
        orders.append(shuffled.map_with_index(_CountPasses(len(indices))))
    return grain.MapDataset.mix(orders)


@dataclasses.dataclass(frozen=True)
class _CountPasses(grain.transforms.MapWithIndex):
    """Adds to each element of a repeated dataset in which repetition it stands."""

    size: int

    def map_with_index(self, index: int, element: int) -> VideoPass:
        return VideoPass(element, index // self.size)


@dataclasses.dataclass(frozen=True)
class _ProcessShare(grain.transforms.DatasetSelectionMap):
    """Picks a process's block of consecutive videos out of each global batch, from video `start` on."""

    start: int
    batch_size: int
    process_index: int
    process_count: int
    total: int

    @property
    def local_size(self) -> int:
        return self.batch_size // self.process_count

    def __len__(self) -> int:
        return (self.total - self.start) // self.batch_size * self.local_size

    def __getitem__(self, index: int) -> tuple[int, int]:
        step, position = divmod(index, self.local_size)
        return 0, self.start + step * self.batch_size + self.process_index * self.local_size + position


def question_indices(num_questions: int, per_pass: int, video_pass: VideoPass, seed: int) -> np.ndarray:
    """Which questions go with a video in a pass: int64[per_pass], without a repetition where there are enough.

    A cycle of passes goes through a shuffled order of all questions; its last pass is filled up from the start
    of that order, and the next cycle has another order.
    """
    passes_per_cycle = -(-num_questions // per_pass)
    cycle, position = divmod(video_pass.number, passes_per_cycle)
    order = np.random.default_rng((seed, video_pass.record, cycle)).permutation(num_questions)
    return order[(position * per_pass + np.arange(per_pass)) % num_questions]


def read_clips(data: DataConfig, video: str, number: int) -> np.ndarray:
    """What the vision encoder sees of a video in its pass `number`: float32[N, T, H, W, 3].

    Which frames are drawn follows from what is in the file, and not from the other videos of the set.

    Raises:
      UserError: the video cannot be decoded.
    """
    rng = np.random.default_rng((data.seed, beginning_checksum(video), number, _FRAMES_STREAM)) if data.random_frames else None
    frames = read_frames(video, data.num_frames, rng).frames
    return preprocess_frames(frames, data.image_size, data.tile_grid)


def feature_row(data: DataConfig, video_pass: VideoPass) -> int:
    """Row of the stored features that a pass uses; those are of the frames that the pass would draw while it has its own row."""
    return video_pass.record * data.draws_per_video + video_pass.number % data.draws_per_video


@dataclasses.dataclass(frozen=True)
class _LoadVideo(grain.transforms.Map):
    """Decodes a video once, or reads its features, and adds the text rows that go with it in this pass."""

    data: DataConfig
    records: tuple[Record, ...] = dataclasses.field(repr=False)  # Grain names its steps by their repr, again and again
    rows: dict[Question, TextRow] = dataclasses.field(repr=False)
    num_positions: int
    stored: StoredFeatures | None = dataclasses.field(default=None, repr=False)

    def map(self, element: VideoPass) -> Batch:
        data, record = self.data, self.records[element.record]
        if self.stored is None:
            visual = {"video": read_clips(data, record.video, element.number)}
        else:
            visual = {self.stored.name: self.stored.read(feature_row(data, element))}
        chosen = question_indices(len(record.questions), data.questions_per_video, element, data.seed)
        rows = [self.rows[record.questions[index]] for index in chosen]
        text = TextRow(*(np.stack(arrays) for arrays in zip(*rows, strict=True)))
        positions = answer_positions(text.labels, self.num_positions)
        return {**visual, **text._asdict(), "answer_positions": positions, "present": np.bool_(record.present)}


class BatchIterator(grain.DatasetIterator[Batch]):
    """Endless batches of one process; decoding starts with the first `next`.

    `get_state` is the number of videos that all processes together have handed out. It is the same on every
    process and does not depend on the number of processes or workers, nor on the batch size.
    """

    def __init__(self, order: grain.MapDataset[VideoPass], load: _LoadVideo, data: DataConfig, process_index: int, process_count: int):
        super().__init__()
        self._order = order
        self._load = load
        self._data = data
        self._process = (process_index, process_count)
        self._next_video = 0
        self._source: grain.DatasetIterator[Batch] | None = None

    def __next__(self) -> Batch:
        self.start_prefetch()
        try:
            batch = next(self._source)
        except RuntimeError as error:
            if "terminated unexpectedly" not in str(error):
                raise
            raise UserError(
                "a data worker was killed, most likely for want of memory or of shared memory (/dev/shm, 64 MB in a plain container): "
                "enlarge it, or lower data.num_workers; 0 needs no shared memory."
            ) from error
        self._next_video += self._data.batch_size
        return batch

    def use_stored(self, stored: StoredFeatures | None) -> None:
        """From the next batch on, arrays [B, N, L, D] of the stored features take the place of `video`, under their own name.

        Args:
          stored: has rows as `feature_row` tells; None decodes videos.
        """
        self._stop_source()
        self._load = dataclasses.replace(self._load, stored=stored)

    def start_prefetch(self) -> None:
        """Begins to decode in the background, where workers or read-ahead threads do so."""
        if self._closed:
            raise ValueError("the iterator was closed")
        if self._source is None:
            self._source = iter(self._batches_from(self._next_video))
            self._source.start_prefetch()

    def _batches_from(self, start: int) -> grain.IterDataset[Batch]:
        share = _ProcessShare(start, self._data.batch_size, *self._process, total=len(self._order))
        videos = grain.MapDataset.select_from_datasets([self._order], share)
        # Batches are made before the workers divide the work, so that their number does not change the batches.
        batches = videos.map(self._load).batch(share.local_size, drop_remainder=True)
        if self._data.num_workers == 0:
            return batches.to_iter_dataset(grain.ReadOptions(num_threads=BATCHES_READ_AHEAD, prefetch_buffer_size=BATCHES_READ_AHEAD))
        if not flags.FLAGS.is_parsed():
            flags.FLAGS.mark_as_parsed()  # Grain reads flags of its own here, also in programs that do not use absl
        each_worker = batches.to_iter_dataset(grain.ReadOptions(num_threads=0, prefetch_buffer_size=0))
        return each_worker.mp_prefetch(grain.MultiprocessingOptions(num_workers=self._data.num_workers))

    def get_state(self) -> dict[str, Any]:
        return {"next_video": self._next_video}

    def set_state(self, state: dict[str, Any]) -> None:
        self._stop_source()
        self._next_video = int(state["next_video"])

    def close(self) -> None:
        """Ends workers and threads; `next` raises ValueError afterwards."""
        self._stop_source()
        super().close()

    def _stop_source(self) -> None:
        if self._source is not None:
            self._source.close()
            self._source = None
