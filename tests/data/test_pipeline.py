"""Which videos and questions come when, on which process, and that a run continues where it stopped."""

import collections
import dataclasses
import itertools
import json
import multiprocessing
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from pvchat_jax.config.schema import DataConfig, TrainConfig
from pvchat_jax.data import pipeline
from pvchat_jax.data.conversation import build_training_row, pad_row
from pvchat_jax.data.pipeline import (
    BatchIterator,
    VideoPass,
    dataset_rows,
    feature_row,
    make_train_iterator,
    probe_videos,
    question_indices,
    read_clips,
    select_records,
)
from pvchat_jax.data.preprocess import preprocess_frames
from pvchat_jax.data.records import Question, Record
from pvchat_jax.data.stored_features import StoredFeatures, write_features
from pvchat_jax.data.video import read_frames
from pvchat_jax.errors import UserError
from pvchat_jax.models.config import TINY
from tests.data.video_files import grey_of, write_video

NUM_QUESTIONS = (5, 4, 1, 2, 3, 2, 2, 4)  # of each video
PRESENT = (0, 3, 6)
ABSENT = (1, 2, 4, 5, 7)


class LetterTokenizer:
    """One id a letter, so that a row can be read back."""

    subjects = ("<Wilson>",)
    bos_id, eos_id = 1, 2

    def encode(self, text: str, add_bos: bool) -> list[int]:
        return [self.bos_id] * add_bos + [ord(letter) for letter in text]

    def encode_plain(self, text: str) -> list[int]:
        return self.encode(text, add_bos=False)


def make_config(**data: object) -> TrainConfig:
    settings = {
        "train": "people.jsonl",
        "num_frames": 2,
        "image_size": 64,
        "tile_grid": (1, 1),
        "batch_size": 4,
        "questions_per_video": 2,
        "text_buckets": (64, 96, 192),
        "num_workers": 0,
        "seed": 7,
    }
    return TrainConfig(model=TINY, data=DataConfig(**{**settings, **data}))


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    folder = tmp_path_factory.mktemp("videos")
    return [
        Record(
            video=str(write_video(folder / f"{video}.mp4", 3 + video)),
            subject="<Wilson>",
            role="positive" if video in PRESENT else "easy_negative",
            origin="real",
            questions=tuple(
                Question(question=f"q{number}?", answer=f"{video}.{number}", type="action" if number else "existence")
                for number in range(NUM_QUESTIONS[video])
            ),
        )
        for video in range(len(NUM_QUESTIONS))
    ]


def iterate(config: TrainConfig, records: list[Record], process_index: int = 0, process_count: int = 1) -> BatchIterator:
    selected = select_records(config.data, records)
    text = dataset_rows(config, selected, LetterTokenizer())
    return make_train_iterator(config, selected, text, process_index=process_index, process_count=process_count)


def used(batch: dict[str, np.ndarray]) -> list[tuple[int, tuple[int, ...]]]:
    """(video, its questions) of each element of a batch, read from the answers to be learnt."""
    elements = []
    for rows in batch["labels"]:
        answers = ["".join(chr(label) for label in row if label > LetterTokenizer.eos_id).split(".") for row in rows]
        (video,) = {int(video) for video, _ in answers}
        elements.append((video, tuple(int(question) for _, question in answers)))
    return elements


def take(batches: Iterator[dict[str, np.ndarray]], count: int) -> list[tuple[int, tuple[int, ...]]]:
    return [element for batch in itertools.islice(batches, count) for element in used(batch)]


def passes_over(elements: Iterable[tuple[int, tuple[int, ...]]], videos: tuple[int, ...]) -> list[list[int]]:
    order = [video for video, _ in elements if video in videos]
    return [order[start : start + len(videos)] for start in range(0, len(order) - len(videos) + 1, len(videos))]


def assert_same(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> None:
    assert first.keys() == second.keys()
    for key, array in first.items():
        np.testing.assert_array_equal(array, second[key], err_msg=key)


@pytest.mark.parametrize(("tile_grid", "num_clips", "length"), [((1, 1), 1, 96), ((2, 1), 3, 192)])
def test_batches_have_one_static_shape(records: list[Record], tile_grid: tuple[int, int], num_clips: int, length: int) -> None:
    batches = iterate(make_config(tile_grid=tile_grid), records)
    for batch in itertools.islice(batches, 4):
        assert {key: (array.shape, str(array.dtype)) for key, array in batch.items()} == {
            "video": ((4, num_clips, 2, 64, 64, 3), "float32"),
            "input_ids": ((4, 2, length), "int32"),
            "attention_mask": ((4, 2, length), "bool"),
            "labels": ((4, 2, length), "int32"),
            "video_mask": ((4, 2, length), "bool"),
            "answer_positions": ((4, 2, 8), "int32"),
            "present": ((4,), "bool"),
        }
        assert (batch["video_mask"].sum(-1) == num_clips * TINY.qformer.num_visual_tokens).all()


def test_pixels_and_rows_belong_to_the_same_record(records: list[Record]) -> None:
    config = make_config()
    batch = next(iterate(config, records))
    for index, (video, questions) in enumerate(used(batch)):
        record = records[video]
        assert batch["present"][index] == record.present
        expected = preprocess_frames(read_frames(record.video, 2).frames, 64, (1, 1))
        np.testing.assert_array_equal(batch["video"][index], expected)
        for row, number in enumerate(questions):
            question = record.questions[number]
            text = build_training_row(
                LetterTokenizer(),
                question=question.question,
                answer=question.answer,
                subject="<Wilson>",
                num_clips=1,
                tokens_per_clip=TINY.qformer.num_visual_tokens,
                style="pvchat",
            )
            for key, array in pad_row(text, 96)._asdict().items():
                np.testing.assert_array_equal(batch[key][index, row], array)


def test_single_frames_are_the_middle_ones(records: list[Record]) -> None:
    batch = next(iterate(make_config(num_frames=1), records))
    for index, (video, _) in enumerate(used(batch)):
        num_source_frames = 3 + video
        grey = batch["video"][index, 0, 0, 20:44, 48:].mean(0).mean(0) * [0.229, 0.224, 0.225] + [0.485, 0.456, 0.406]
        np.testing.assert_allclose(grey * 255, grey_of((num_source_frames - 1) // 2), atol=1.5)


def test_random_frames_are_new_in_every_pass_and_follow_from_the_seed(records: list[Record]) -> None:
    config = make_config(num_frames=1, random_frames=True)

    def pictures_of_last_video() -> list[np.ndarray]:
        batches = list(itertools.islice(iterate(config, records), 20))
        return [batch["video"][index] for batch in batches for index, (video, _) in enumerate(used(batch)) if video == 7]

    pictures, again = pictures_of_last_video(), pictures_of_last_video()
    np.testing.assert_array_equal(pictures, again)
    assert any(np.abs(picture - pictures[0]).max() > 0.1 for picture in pictures[1:])


@pytest.mark.parametrize(("random_frames", "num_workers", "dtype"), [(False, 0, "float16"), (True, 0, "float16"), (True, 1, "bfloat16")])
def test_stored_features_come_in_the_place_of_their_videos(
    records: list[Record], tmp_path: Path, random_frames: bool, num_workers: int, dtype: str
) -> None:
    settings = {"num_frames": 1, "random_frames": random_frames, "feature_draws": 3}
    config = make_config(**settings)
    draws = range(3 if random_frames else 1)
    rows = {f"{index}.{number}": (record.video, number) for index, record in enumerate(records) for number in draws}
    for name, row in rows.items():
        write_features(tmp_path / name, means := read_clips(config.data, *row).mean(axis=(2, 3)).astype(jnp.dtype(dtype)))
    stored = StoredFeatures("lower_features", tmp_path, tuple(rows), means.shape, means.dtype)
    from_video = iterate(config, records)
    text, process = dataset_rows(config, records, LetterTokenizer()), {"process_index": 0, "process_count": 1}
    from_features = make_train_iterator(make_config(**settings, num_workers=num_workers), records, text, **process)
    from_features.use_stored(stored)
    next(from_video), next(from_features)
    from_features.set_state(from_video.get_state())
    for _ in range(3):  # no video has a fourth pass yet, which would use its first draw again
        video, features = next(from_video), next(from_features)
        assert features["lower_features"].dtype == dtype
        pixels, stored_pixels = video.pop("video"), features.pop("lower_features")
        np.testing.assert_allclose(stored_pixels.astype(np.float32), pixels.mean(axis=(3, 4)), atol=2 * float(jnp.finfo(dtype).eps))
        assert_same(features, video)
    from_features.close()


def test_draws_take_turns_from_pass_to_pass() -> None:
    data = make_config(random_frames=True, feature_draws=3).data
    assert [feature_row(data, VideoPass(2, number)) for number in range(5)] == [6, 7, 8, 6, 7]
    assert feature_row(dataclasses.replace(data, random_frames=False), VideoPass(2, 4)) == 2


def test_half_of_every_batch_shows_the_subject_and_no_video_waits(records: list[Record]) -> None:
    elements = []
    for batch in itertools.islice(iterate(make_config(), records), 15):
        assert batch["present"].sum() == 2
        elements += used(batch)
    for videos in (PRESENT, ABSENT):
        passes = passes_over(elements, videos)
        assert len(passes) >= 5
        assert all(sorted(order) == list(videos) for order in passes)
        assert len({tuple(order) for order in passes}) > 1, "each pass has another order"


def test_classes_of_equal_size_are_shuffled_independently(records: list[Record]) -> None:
    pairs = take(iterate(make_config(batch_size=6), [records[index] for index in (0, 3, 6, 1, 4, 7)]), 8)
    partners = collections.defaultdict(set)
    for (present, _), (absent, _) in zip(pairs[::2], pairs[1::2], strict=True):
        partners[present].add(absent)
    assert all(len(seen) > 1 for seen in partners.values())


def test_without_balance_each_video_comes_once_in_a_pass(records: list[Record]) -> None:
    elements = take(iterate(make_config(balance_presence=False), records), 6)
    passes = passes_over(elements, tuple(range(8)))
    assert [sorted(order) for order in passes] == [list(range(8))] * 3
    assert len({tuple(order) for order in passes}) == 3


def test_a_video_is_decoded_once_for_all_its_questions(records: list[Record], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: collections.Counter[str] = collections.Counter()

    def count(path: str, *settings: object) -> object:
        decoded[path] += 1
        return read_frames(path, *settings)

    monkeypatch.setattr(pipeline, "read_frames", count)
    monkeypatch.setattr(pipeline, "BATCHES_READ_AHEAD", 0)
    # Files of its own, since the iterators of other tests may still be reading ahead.
    copies = [dataclasses.replace(record, video=str(shutil.copy(record.video, tmp_path))) for record in records]
    take(iterate(make_config(balance_presence=False, questions_per_video=4), copies), 2)
    assert [decoded[record.video] for record in copies] == [1] * 8


@pytest.mark.parametrize(("num_questions", "per_pass"), [(5, 2), (6, 3), (4, 4), (20, 4), (7, 1)])
def test_questions_rotate_without_replacement(num_questions: int, per_pass: int) -> None:
    passes_per_cycle = -(-num_questions // per_pass)
    cycles = []
    for cycle in range(4):
        passes = [question_indices(num_questions, per_pass, VideoPass(3, cycle * passes_per_cycle + n), 0) for n in range(passes_per_cycle)]
        assert all(len(set(chosen.tolist())) == per_pass for chosen in passes)
        order = np.concatenate(passes)
        assert sorted(order[:num_questions].tolist()) == list(range(num_questions)), "all are used before any comes again"
        cycles.append(tuple(order.tolist()))
    assert len(set(cycles)) > 1


def test_too_few_questions_repeat_in_turn() -> None:
    chosen = question_indices(3, 8, VideoPass(0, 5), 0).tolist()
    assert sorted(chosen[:3]) == [0, 1, 2]
    assert chosen[3:] == [*chosen[:3], *chosen[:2]]


def test_a_video_shows_all_its_questions_over_its_passes(records: list[Record]) -> None:
    seen = collections.defaultdict(set)
    for video, questions in take(iterate(make_config(balance_presence=False), records), 6):
        seen[video].update(questions)
    assert [len(seen[video]) for video in range(8)] == list(NUM_QUESTIONS)


def test_the_seed_decides_everything(records: list[Record]) -> None:
    first, again, other = (take(iterate(make_config(seed=seed), records), 4) for seed in (7, 7, 8))
    assert first == again
    assert [video for video, _ in first] != [video for video, _ in other]


@pytest.mark.parametrize("process_count", [2, 4])
def test_processes_share_the_batches_of_one(records: list[Record], process_count: int) -> None:
    config = make_config()
    whole = iterate(config, records)
    shares = [iterate(config, records, index, process_count) for index in range(process_count)]
    for _ in range(4):
        parts = [next(share) for share in shares]
        assert_same(next(whole), {key: np.concatenate([part[key] for part in parts]) for key in parts[0]})


def test_a_batch_that_does_not_divide_is_refused(records: list[Record]) -> None:
    with pytest.raises(UserError, match=r"data\.batch_size 4 is not divisible by the 3 processes"):
        iterate(make_config(), records, 0, 3)


def test_a_saved_iterator_continues_where_it_stopped(records: list[Record]) -> None:
    config = make_config()
    batches = iterate(config, records)
    take(batches, 3)
    state = json.loads(json.dumps(batches.get_state()))
    expected = [next(batches) for _ in range(3)]
    resumed = iterate(config, records)
    next(resumed)  # a restored iterator may have been used before
    resumed.set_state(state)
    for batch in expected:
        assert_same(next(resumed), batch)
    assert resumed.get_state() == batches.get_state()


def test_a_saved_iterator_continues_with_other_processes_and_batch_size(records: list[Record]) -> None:
    expected = take(iterate(make_config(), records), 4)
    batches = iterate(make_config(), records, 1, 2)
    take(batches, 2)
    resumed = iterate(make_config(batch_size=2), records)
    resumed.set_state(batches.get_state())
    assert take(resumed, 4) == expected[8:]


def test_workers_continue_a_run_that_had_none_and_report_their_death(records: list[Record]) -> None:
    batches = iterate(make_config(), records)
    next(batches)
    resumed = iterate(make_config(num_workers=2), records)
    resumed.set_state(batches.get_state())
    for _ in range(3):
        assert_same(next(resumed), next(batches))
    assert resumed.get_state() == batches.get_state()

    for worker in multiprocessing.active_children():  # as the kernel does when memory runs out
        if "grain" in worker.name:
            worker.kill()
    with pytest.raises(UserError, match="a data worker was killed"):
        take(resumed, 9)
    resumed.close()


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_video_that_breaks_during_the_run_is_named(records: list[Record], tmp_path: Path, num_workers: int) -> None:
    missing = dataclasses.replace(records[0], video=str(tmp_path / "gone.mp4"))
    batches = iterate(make_config(num_workers=num_workers), [missing, records[1]])
    with pytest.raises(UserError, match=r"gone\.mp4 does not exist"):
        next(batches)
    batches.close()


def test_a_closed_iterator_says_so(records: list[Record]) -> None:
    batches = iterate(make_config(), records)
    next(batches)
    batches.close()
    with pytest.raises(ValueError, match="closed"):
        next(batches)


def test_question_types_filter_questions_and_videos(records: list[Record]) -> None:
    kept = select_records(make_config(question_types=("action",)).data, records)
    assert [len(record.questions) for record in kept] == [number - 1 for number in NUM_QUESTIONS if number > 1]
    assert {question.type for record in kept for question in record.questions} == {"action"}


@pytest.mark.parametrize(
    ("videos", "settings", "message"),
    [
        (PRESENT, {}, "no usable video that is without <Wilson>"),
        (ABSENT, {}, "no usable video that shows <Wilson>"),
        (range(8), {"question_types": ("location",)}, r"no question of data\.question_types \['location'\]"),
    ],
)
def test_missing_data_is_reported_with_the_file(
    records: list[Record], videos: Iterable[int], settings: dict[str, tuple[str, ...]], message: str
) -> None:
    with pytest.raises(UserError, match=f"^people.jsonl has {message}"):
        iterate(make_config(**settings), [records[video] for video in videos])


def test_text_rows_have_the_smallest_bucket_for_the_longest_row(records: list[Record]) -> None:
    longest = max(len("[INST] <Video></Video>[/INST] [INST][<Wilson>]q0?[/INST]0.0") + 2 + TINY.qformer.num_visual_tokens for _ in records)
    text = dataset_rows(make_config(text_buckets=(longest - 1, longest, 999)), records, LetterTokenizer())
    assert (text.length, text.prefix_length) == (
        longest,
        len("[INST] <Video></Video>[/INST] [INST][<Wilson>]q") + 1 + TINY.qformer.num_visual_tokens,
    )
    with pytest.raises(UserError, match=r"people\.jsonl: the question 'q\d\?' of video .*\d\.mp4 takes") as caught:
        dataset_rows(make_config(text_buckets=(longest - 2, longest - 1)), records, LetterTokenizer())
    assert f"takes {longest} tokens" in str(caught.value)


def test_probing_sets_bad_videos_aside(records: list[Record], tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    empty = dataclasses.replace(records[0], video=str(tmp_path / "empty.mp4"))
    result = probe_videos([empty, *records, empty])
    assert result.good == records
    assert [record for record, _ in result.bad] == [empty, empty]
    assert "empty.mp4 is empty" in result.bad[0][1]
