"""Greedy decoding: the right answer for each question of each video, at one compilation."""

import dataclasses
import io
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax.core import meta
from PIL import Image
from rich.console import Console

from pvchat_jax.config.schema import DataConfig, TrainConfig
from pvchat_jax.data.conversation import build_prompt_row, common_prefix_length, pad_row
from pvchat_jax.data.preprocess import preprocess_frames
from pvchat_jax.data.records import Question, Record
from pvchat_jax.evaluation.generation import answer_records, decide, make_decoder, make_viewer
from pvchat_jax.models.config import TINY
from pvchat_jax.models.pvchat import build_pvchat, init_boxed
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
    assert model.traces == {"encode_video": 1, "query": 1, "visual_tokens": 1, "row_logits": 1}


def test_log_odds_are_of_yes_against_no_for_existence_questions_only(tmp_path: Path) -> None:
    tokenizer, model, records, _ = make_case(tmp_path, [6])
    answers, _, _ = answer_records(model, jnp.float32(0), tokenizer, CONFIG, records)
    assert [answer.log_odds for answer in answers] == [5.0, -5.0, None, None, None, None]


def test_unreadable_videos_are_set_aside_and_the_rest_is_answered(tmp_path: Path) -> None:
    tokenizer, model, records, expected = make_case(tmp_path, [2, 2, 2])
    Path(records[1].video).write_bytes(b"no picture")
    missing = dataclasses.replace(records[0], video=str(tmp_path / "missing.mp4"))
    console = Console(file=io.StringIO(), width=120)
    answers, set_aside, _ = answer_records(model, jnp.float32(0), tokenizer, CONFIG, [missing, *records], console)
    assert [answer.answer for answer in answers] == expected[:2] + expected[4:]
    assert [item.video for item in set_aside] == [missing.video, records[1].video]
    assert all(item.video in item.reason for item in set_aside)
    assert "4/4 videos" in console.file.getvalue()


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


def test_padding_does_not_change_what_the_real_model_says() -> None:
    """Against one pass over the unpadded row: each generated token is the likeliest after those before it."""
    config = dataclasses.replace(  # one layer of each kind compiles soonest
        TINY,
        vision=dataclasses.replace(TINY.vision, depth=3),
        qformer=dataclasses.replace(TINY.qformer, num_layers=1, remoh=dataclasses.replace(TINY.qformer.remoh, start_layer=0)),
        language_model=dataclasses.replace(TINY.language_model, num_layers=1),
    )
    model = build_pvchat(config)
    shapes = jax.eval_shape(lambda key: meta.unbox(init_boxed(model, config, key)), jax.random.key(0))
    rng = np.random.default_rng(4)
    params = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(0, 0.5, leaf.shape), jnp.float32), shapes)
    features = rng.normal(size=(1, 1, 9, TINY.vision.width)).astype(np.float32)
    tokenizer = WordTokenizer(SUBJECT)
    layout = {"subject": SUBJECT, "num_clips": 1, "tokens_per_clip": TINY.qformer.num_visual_tokens, "style": "pvchat"}
    rows = [build_prompt_row(tokenizer, question=text, **layout) for text in ("is <Wilson> here", "what does <Wilson> do over there")]
    padded = [pad_row(row, len(rows[1].input_ids) + 9) for row in rows]
    ids, video_mask = (np.stack([getattr(row, field) for row in padded])[None] for field in ("input_ids", "video_mask"))
    lengths = np.array([[len(row.input_ids) for row in rows]], np.int32)
    sharing = model.clone(prefix_length=common_prefix_length(rows))  # and the model below shares nothing
    visual = make_viewer(sharing)(params, features).visual
    decode = make_decoder(sharing, max_new_tokens=4, eos_id=tokenizer.eos_id, yes_id=3, no_id=4)
    decoded = decode(params, visual, 0.0, ids, lengths, video_mask, np.ones((1, 2), bool))
    said = np.asarray(decoded.tokens)[0, 0]
    assert tokenizer.eos_id not in said and len(set(said)) > 1, "choose another seed: this answer would test little"

    row = rows[0]
    whole = (np.append(row.input_ids, said), np.ones(len(row.input_ids) + 4, bool), np.append(row.video_mask, [False] * 4))
    output = jax.jit(lambda *row: model.apply({"params": params}, None, *row, features=features))(*(array[None, None] for array in whole))
    logits = np.asarray(output.logits)[0, 0, len(row.input_ids) - 1 : -1]
    np.testing.assert_array_equal(said, logits.argmax(axis=-1))
    np.testing.assert_allclose(decoded.log_odds[0, 0], logits[0, 3] - logits[0, 4], rtol=1e-3)

    above = float(decoded.log_odds[0, 0]) + 1
    strict = decode(params, visual, above, ids, lengths, video_mask, np.ones((1, 2), bool))
    np.testing.assert_allclose(strict.log_odds, decoded.log_odds, rtol=1e-6)  # what the model thinks is reported as it is


def test_a_threshold_decides_between_yes_and_no_and_about_nothing_else() -> None:
    yes_leads, no_leads, content_leads = [3.0, 1.0, 0.0], [1.0, 3.0, 0.0], [1.0, 2.0, 9.0]
    logits = np.array([yes_leads, no_leads, content_leads])
    as_yes, as_no = (np.asarray(decide(jnp.asarray(logits), np.full(3, is_yes), 0, 1)) for is_yes in (True, False))
    assert as_yes.argmax(axis=-1).tolist() == [0, 0, 2]
    assert as_no.argmax(axis=-1).tolist() == [1, 1, 2]
    np.testing.assert_array_equal(np.sort(as_no, axis=-1), np.sort(logits, axis=-1))
