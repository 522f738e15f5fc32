"""From questions to texts with a model that knows the answers: batches, turns, stop texts, streams, and how often anything compiles."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from pvchat_jax.data.conversation import TextRow, build_prompt_row
from pvchat_jax.inference.engine import Asked, Engine, Seen
from pvchat_jax.inference.options import DecodingOptions
from tests.evaluation.scripted import RecitingModel, WordTokenizer

SUBJECT = "<Wilson>"
ANSWERS = {
    (0.5, "who"): "he wears a red hat and a blue coat .",
    (0.5, "where"): "left .",
    (-0.5, "who"): "nobody .",
    (-0.5, "where"): "he is not here , I think .",
}
OPTIONS = DecodingOptions(max_new_tokens=16)


class Case:
    """An engine over two videos, whose features are their pixels."""

    def __init__(self) -> None:
        self.tokenizer = WordTokenizer(SUBJECT)
        script = {
            (pixel, self.tokenizer.encode(word, add_bos=False)[0]): self.tokenizer.encode(answer, add_bos=False)
            for (pixel, word), answer in ANSWERS.items()
        }
        self.model = RecitingModel(script, self.tokenizer.encode("[/INST]", add_bos=False)[0], self.tokenizer.eos_id)
        self.engine = Engine(self.model, jnp.float32(0), self.tokenizer, self.row("who"))

    def row(self, question: str) -> TextRow:
        return build_prompt_row(self.tokenizer, question=question, subject=SUBJECT, num_clips=1, tokens_per_clip=2, style="pvchat")

    def see(self, *pixels: float) -> Seen:
        return self.engine.see(np.array(pixels, np.float32).reshape(-1, 1, 1, 1))

    def ask(self, question: str, pixel: float = 0.5) -> Asked:
        return self.engine.ask(self.see(pixel), [[self.row(question)]])


@pytest.fixture
def case() -> Case:
    return Case()


def test_every_video_gets_answers_to_its_own_questions_of_any_length(case: Case) -> None:
    questions = [["who", "where is that man", "and who is that"], ["where"]]
    asked = case.engine.ask(case.see(0.5, -0.5), [[case.row(question) for question in of_video] for of_video in questions])
    replies = case.engine.answer(asked, OPTIONS)
    expected = [[ANSWERS[0.5, "who"], ANSWERS[0.5, "where"], ANSWERS[0.5, "who"]], [ANSWERS[-0.5, "where"]]]
    assert [[reply.text for reply in of_video] for of_video in replies] == expected
    assert all(reply.is_complete for of_video in replies for reply in of_video)
    assert replies[0][1].tokens == tuple(case.tokenizer.encode("left .", add_bos=False))


def test_an_answer_that_is_cut_off_says_so(case: Case) -> None:
    replies = case.engine.answer(case.ask("who"), DecodingOptions(max_new_tokens=3))
    assert (replies[0][0].text, replies[0][0].is_complete) == ("he wears a", False)


def test_each_program_compiles_once_for_a_bucket(case: Case) -> None:
    seen = case.see(0.5)
    once = {"query": 1, "visual_tokens": 1, "embed_rows": 1, "embed_text": 2, "extend": 3}
    for number, question in enumerate(("who is that", "where is that man , please")):  # two lengths of one bucket
        for options in (OPTIONS, DecodingOptions(max_new_tokens=9, temperature=0.5, top_k=3, seed=number)):
            case.engine.answer(case.engine.ask(seen, [[case.row(question)]]), options)
        "".join(case.engine.stream(case.engine.ask(seen, [[case.row(question)]]), OPTIONS))
        seen = case.see(-0.5)
    assert case.model.traces == once
    other = case.engine.with_parameters(jnp.float32(0))
    other.answer(other.ask(seen, [[case.row("who is that")]]), OPTIONS)
    assert case.model.traces == once
    case.engine.answer(case.engine.ask(seen, [[case.row("who is that")] * 2]), OPTIONS)  # another bucket of rows
    assert case.model.traces == {**once, "embed_text": 4, "extend": 5}
    case.engine.answer(case.ask("who is that"), dataclasses.replace(OPTIONS, num_beams=2))  # and another program for a number of beams
    assert case.model.traces == {**once, "embed_text": 5, "extend": 6}


def test_later_turns_go_on_from_the_same_video(case: Case) -> None:
    """The second question follows the first one's answer in the same row; the video is not looked at again."""
    seen = case.see(0.5)
    first = case.row("hello there")
    case.engine.answer(case.engine.ask(seen, [[first]]), OPTIONS)
    turn = case.tokenizer.encode("hello . [INST] who", add_bos=False)
    fills = (turn, [True] * len(turn), [-100] * len(turn), [False] * len(turn))
    both = TextRow(*(np.append(array, fill) for array, fill in zip(first, fills, strict=True)))
    reply = case.engine.answer(case.engine.ask(seen, [[both]]), OPTIONS)[0][0]
    assert reply.text.split() == ANSWERS[0.5, "who"].split()[len(turn) :]  # the model counts from the end of the first question
    assert case.model.traces["embed_rows"] == 1


def test_streamed_pieces_are_the_answer(case: Case) -> None:
    pieces = list(case.engine.stream(case.ask("who"), OPTIONS))
    assert "".join(pieces) == ANSWERS[0.5, "who"]
    assert len(pieces) == len(ANSWERS[0.5, "who"].split())


def test_a_stop_text_ends_an_answer_and_the_others_go_on(case: Case) -> None:
    options = dataclasses.replace(OPTIONS, stop=("and a b", "think"))
    asked = case.engine.ask(case.see(0.5, -0.5), [[case.row("who")], [case.row("where"), case.row("who")]])
    replies = case.engine.answer(asked, options)
    assert [[reply.text for reply in of_video] for of_video in replies] == [["he wears a red hat "], ["he is not here , I ", "nobody ."]]
    assert replies[0][0].is_complete
    assert "".join(case.engine.stream(case.ask("who"), options)) == "he wears a red hat "
    assert list(case.engine.stream(case.ask("who"), dataclasses.replace(options, num_beams=2))) == ["he wears a red hat "]


def test_changed_logits_change_the_first_token_alone(case: Case) -> None:
    asked = case.ask("where")
    word = case.tokenizer.encode("right", add_bos=False)[0]
    reply = case.engine.answer(asked.with_logits(asked.logits.at[0, word].set(100.0)), OPTIONS)[0][0]
    assert reply.text == "right ."


def test_prompts_have_to_continue_the_opening(case: Case) -> None:
    row = case.row("who")
    changed = row._replace(input_ids=np.where(np.arange(len(row.input_ids)) == 1, 9, row.input_ids))
    opening = TextRow(*(array[: int(np.flatnonzero(row.video_mask)[-1]) + 1] for array in row))
    for wrong in (changed, opening):
        with pytest.raises(ValueError, match="continue the opening"):
            case.engine.ask(case.see(0.5), [[wrong]])
    with pytest.raises(ValueError, match="2 questions"):
        next(case.engine.stream(case.engine.ask(case.see(0.5), [[row, row]]), OPTIONS))
