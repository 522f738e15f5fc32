"""Greedy decoding: the right answer for each question of each video, at one compilation."""

import dataclasses
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from PIL import Image

from pvchat_jax.config.schema import DataConfig, TrainConfig
from pvchat_jax.data.preprocess import preprocess_frames
from pvchat_jax.data.records import Question, Record
from pvchat_jax.evaluation.examiner import decide
from pvchat_jax.evaluation.generation import answer_records
from pvchat_jax.models.config import TINY
from tests.evaluation.scripted import RecitingModel, WordTokenizer

SUBJECT = "<Wilson>"
CONFIG = TrainConfig(model=TINY, data=DataConfig(subject=SUBJECT, num_frames=2, image_size=64, tile_grid=(1, 1)))
ANSWERS = ["Yes .", "No , he is absent .", "waving", "a very red coat", "", "on the left of a red bench"]


def write_picture(path: Path, brightness: int) -> float:
    """Writes an even picture, which counts as a video of one frame; returns the value of its pixels after preprocessing."""
    Image.new("RGB", (64, 64), (brightness,) * 3).save(path)
    frames = np.full((1, 64, 64, 3), brightness, np.uint8)
    return float(preprocess_frames(frames, 64, (1, 1))[0, 0, 0, 0, 0])


def make_case(folder: Path, questions_per_video: list[int]) -> tuple[WordTokenizer, RecitingModel, list[Record], list[str]]:
    """Videos with as many questions as given, the model that knows the answers, and those answers in order."""
    tokenizer = WordTokenizer(SUBJECT)
    script, records, expected = {}, [], []
    for video, count in enumerate(questions_per_video):
        path = folder / f"{video}.png"
        pixel = write_picture(path, 20 + 30 * video)
        questions = []
        for number in range(count):
            answer = ANSWERS[(video + number) % len(ANSWERS)]
            kind = "existence" if answer.startswith(("Yes", "No")) else "action"
            questions.append(Question(question=f"q{number} of {SUBJECT}" + " please" * (number % 3), answer=answer or "nothing", type=kind))
            script[pixel, tokenizer.encode(f"q{number}", add_bos=False)[0]] = tokenizer.encode(answer, add_bos=False)
            expected.append(answer)
        records.append(Record(video=str(path), subject=SUBJECT, role="positive", origin="rendered", questions=tuple(questions)))
    model = RecitingModel(script, tokenizer.encode("[/INST]", add_bos=False)[0], tokenizer.eos_id)
    return tokenizer, model, records, expected


def test_every_question_gets_its_answer_in_order_and_one_compilation_does_for_all(tmp_path: Path) -> None:
    tokenizer, model, records, expected = make_case(tmp_path, [3, 1, 11, 2, 5, 4])
    answers, set_aside, _ = answer_records(model, jnp.float32(0), tokenizer, CONFIG, records)
    assert [answer.answer for answer in answers] == expected
    asked = [(record.video, question.question, question.answer) for record in records for question in record.questions]
    assert [(answer.video, answer.question, answer.gold) for answer in answers] == asked
    assert not set_aside
    once = dict.fromkeys(("encode_video", "query", "visual_tokens", "embed_rows"), 1)
    assert model.traces == {**once, "embed_text": 2, "extend": 3}  # of prompts and of the loop; and of the video's prefix


def test_log_odds_are_of_yes_against_no_for_existence_questions_only(tmp_path: Path) -> None:
    tokenizer, model, records, _ = make_case(tmp_path, [6])
    answers, _, _ = answer_records(model, jnp.float32(0), tokenizer, CONFIG, records)
    assert [answer.log_odds for answer in answers] == [5.0, -5.0, None, None, None, None]


def test_unreadable_videos_are_set_aside_and_the_rest_is_answered(tmp_path: Path) -> None:
    tokenizer, model, records, expected = make_case(tmp_path, [2, 2, 2])
    Path(records[1].video).write_bytes(b"no picture")
    missing = dataclasses.replace(records[0], video=str(tmp_path / "missing.mp4"))
    answers, set_aside, _ = answer_records(model, jnp.float32(0), tokenizer, CONFIG, [missing, *records])
    assert [answer.answer for answer in answers] == expected[:2] + expected[4:]
    assert [item.video for item in set_aside] == [missing.video, records[1].video]
    assert all(item.video in item.reason for item in set_aside)


def test_nothing_to_ask() -> None:
    answers, set_aside, activity = answer_records(None, None, WordTokenizer(SUBJECT), CONFIG, [])
    assert (answers, set_aside, activity.num_present, activity.present) == ([], [], 0, {})


def test_active_heads_are_averaged_over_real_videos_with_and_without_the_subject(tmp_path: Path) -> None:
    """Six videos make two batches of four, so that two of the second batch only fill it up."""
    tokenizer, model, records, _ = make_case(tmp_path, [1] * 6)
    pixels = [write_picture(Path(record.video), brightness) for record, brightness in zip(records, (10, 250, 10, 10, 250, 10), strict=True)]
    assert [pixel > 0 for pixel in pixels] == [False, True, False, False, True, False]
    records = [dataclasses.replace(record, role="positive" if index < 2 else "easy_negative") for index, record in enumerate(records)]
    activity = answer_records(model, jnp.float32(0), tokenizer, CONFIG, records).activity
    assert activity.present == {"1.self": (0.5, 0.25)}
    assert activity.absent == {"1.self": (0.25, 0.375)}
    assert (activity.num_present, activity.num_absent) == (2, 4)
    assert activity.num_shared_heads == TINY.qformer.remoh.num_shared_heads


def test_look_alikes_have_the_grade_of_their_differences(tmp_path: Path) -> None:
    tokenizer, model, records, _ = make_case(tmp_path, [1, 1, 1, 1])
    truths = [("hard_negative", ["hair", "mark"]), ("hard_negative", []), ("positive", ["hair"]), ("hard_negative", "unknown")]
    records = [
        dataclasses.replace(record, role=role, truth={"differences": differences})
        for record, (role, differences) in zip(records, truths, strict=True)
    ]
    answers = answer_records(model, jnp.float32(0), tokenizer, CONFIG, records).answers
    assert [answer.grade for answer in answers] == [2, None, None, None]


def test_a_threshold_changes_answers_and_not_their_log_odds(tmp_path: Path) -> None:
    tokenizer, model, records, _ = make_case(tmp_path, [2])
    answers = answer_records(model, jnp.float32(0), tokenizer, CONFIG, records, threshold=6.0).answers
    assert [answer.answer.split()[0] for answer in answers] == ["No", "No"]
    assert [answer.log_odds for answer in answers] == [5.0, -5.0]


def test_a_threshold_decides_between_yes_and_no_and_about_nothing_else() -> None:
    yes_leads, no_leads, content_leads = [3.0, 1.0, 0.0], [1.0, 3.0, 0.0], [1.0, 2.0, 9.0]
    logits = np.array([yes_leads, no_leads, content_leads])
    as_yes, as_no = (np.asarray(decide(jnp.asarray(logits), np.full(3, is_yes), 0, 1)) for is_yes in (True, False))
    assert as_yes.argmax(axis=-1).tolist() == [0, 0, 2]
    assert as_no.argmax(axis=-1).tolist() == [1, 1, 2]
    np.testing.assert_array_equal(np.sort(as_no, axis=-1), np.sort(logits, axis=-1))
